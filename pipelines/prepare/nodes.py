"""Raw data in, checked records out; nothing is published unless the suites pass."""

import logging
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipelines.engines import engine_of

if TYPE_CHECKING:
    from diysink.records import Intake
    from pipelines.prepare.settings import Prepare

logger = logging.getLogger(__name__)


class InvalidRecordsError(ValueError):
    """A suite failed; the message names each broken rule, the count and five examples."""


def generate_records(prepare: "Prepare", seed: int, workspace: str) -> Path:
    """Write the miniature's data in LLaVA's format, or an empty folder where data are given."""
    from diysink.artifact import Workspace, write_manifest
    from diysink.miniature.llava import write_split

    wanted = prepare.generate if prepare.generated else {}
    inputs = {name: [s.kind, s.images, s.questions] for name, s in wanted.items()}
    work = Workspace(workspace, "prepare", {"generate": inputs, "seed": seed})
    folder = work.folder("raw")
    for name, split in wanted.items():
        if work.finished(f"raw-{name}") is None:
            write_split(
                folder,
                name,
                kind=split.kind,
                images=split.images,
                questions=split.questions,
                seed=seed,
            )
            images = (folder / "images").glob(f"{name}-*")
            work.finish(f"raw-{name}", True, [folder / f"{name}.json", *images])
    write_manifest(folder, kind="raw", generated=inputs, seed=seed)
    return folder


def take_in_records(raw: Path, prepare: "Prepare", workspace: str) -> tuple[Path, pd.DataFrame]:
    """Read every split; return the folder of what was taken and the quarantine table.

    The table has a row for each item that was not taken: split, index (place in the source),
    id, reason, detail.
    """
    from diysink.artifact import Workspace, write_manifest
    from diysink.records import open_source, take_in

    settings = prepare.model_dump(mode="json", exclude={"workers"})
    work = Workspace(workspace, "prepare", {"take_in": settings, "raw": str(raw)})
    engine = engine_of("local", prepare.workers)
    taken: dict[str, Intake] = {}
    for name, given in prepare.sources(raw).items():
        taken[name] = take_in(
            open_source(
                given.records,
                given.images,
                given.allowed_roots,
                format=given.format,
                any_extension=given.any_extension,
            ),
            work,
            name,
            limits=prepare.image,
            max_text_bytes=prepare.max_text_bytes,
            duplicate_ids=prepare.duplicate_ids,
            records_per_shard=prepare.records_per_shard,
            engine=engine,
        )
        logger.info(
            "%s: %d of %d items taken, %d quarantined%s",
            name,
            taken[name].records,
            taken[name].items,
            len(taken[name].rejections),
            _reasons(taken[name]),
        )
    folder = work.folder("records")
    counts = {name: {"items": t.items, "records": t.records} for name, t in taken.items()}
    write_manifest(folder, kind="splits", splits=counts)
    rows = [
        (name, r.index, r.id, str(r.reason), r.detail)
        for name, intake in taken.items()
        for r in intake.rejections
    ]
    table = pd.DataFrame(rows, columns=["split", "index", "id", "reason", "detail"])
    text = dict.fromkeys(("split", "id", "reason", "detail"), "str")
    return folder, table.astype({"index": "int64", **text})


def _reasons(intake: "Intake") -> str:
    """Why items were quarantined: ``: missing_file 355, placeholders 2``."""
    counts = Counter(str(rejection.reason) for rejection in intake.rejections)
    said = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
    return f": {said}" if said else ""


def check_records(
    candidates: Path, quarantine: pd.DataFrame, prepare: "Prepare", workspace: str
) -> tuple[dict[str, Any], Path]:
    """Run the suites over what was taken; return the summary and the folder of Data Docs.

    A broken rule does not stop here: the summary and the pages are kept first, for whoever has to
    find out why.
    """
    from diysink.artifact import Workspace, read_manifest, write_manifest
    from pipelines.prepare.pages import make_offline, write_index
    from pipelines.prepare.suites import run_suites
    from pipelines.prepare.tables import all_tables, group_warnings

    splits: dict[str, dict[str, int]] = read_manifest(candidates)["splits"]
    work = Workspace(workspace, "prepare", {"check": prepare.plain()})
    # Of a check that was killed, no page may stay among the new ones.
    shutil.rmtree(work.folder("data_docs"))
    folder = work.folder("data_docs")
    tables = all_tables(candidates, splits, quarantine, prepare)
    rules = run_suites(tables, prepare, folder)
    warnings = group_warnings(tables, splits, prepare)
    for warning in warnings:
        logger.warning(warning)
    summary = {
        "passed": all(rule["passed"] for rule in rules),
        "splits": {
            name: counts | {"quarantined": counts["items"] - counts["records"]}
            for name, counts in splits.items()
        },
        "quarantined": quarantine.groupby(["split", "reason"])
        .size()
        .reset_index(name="items")
        .to_dict("records"),
        "rules": rules,
        "warnings": warnings,
    }
    make_offline(folder)
    write_index(folder, summary)
    write_manifest(folder, kind="data_docs")
    return summary, folder


def admit_records(candidates: Path, validation: dict[str, Any]) -> Path:
    """Let the records through to be published, or stop the run.

    Raises:
        InvalidRecordsError: a rule is broken.
    """
    broken = [rule for rule in validation["rules"] if not rule["passed"]]
    if broken:
        lines = [
            f"- {rule['table']}: {rule['rule']}: {rule['failed']} of {rule['checked']} fail; "
            + (" | ".join(rule["examples"]) or "no examples")
            for rule in broken
        ]
        raise InvalidRecordsError(
            f"{len(broken)} of {len(validation['rules'])} rules are broken, no records were "
            "published:\n" + "\n".join(lines) + "\nSee data/08_reporting/data_docs/index.html and "
            "data/02_intermediate/quarantine.parquet"
        )
    return candidates
