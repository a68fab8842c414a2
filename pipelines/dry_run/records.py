"""The first items of a user's records, as the run would take them in."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from pipelines.dry_run.check import Check
from pipelines.dry_run.plan import Plan

if TYPE_CHECKING:
    from diysink.records import Intake
    from pipelines.prepare.settings import Prepare, SplitPaths

FIRST = 64
_CHARACTERS = 4  # a token of English, about


def records(plan: Plan) -> Iterator[Check]:
    """A check of each split that is on this machine; sets ``plan.text_tokens``."""
    plan.text_tokens = plan.settings["estimate"].text_tokens
    if "prepare" not in plan.stages:
        return
    prepare: Prepare = plan.settings["prepare"]
    if prepare.generated:
        yield Check("prepare.generate", "ok", f"the miniature: {', '.join(prepare.split_names)}")
        return
    from diysink.records import Records, SourceError

    lengths: list[int] = []
    for name, split in prepare.splits.items():
        paths = [path for path in (split.records, split.images) if path is not None]
        if not all(Path(path).exists() for path in paths):
            continue  # which is reported
        with tempfile.TemporaryDirectory() as folder:
            try:
                taken = first_items(split, prepare, Path(folder))
            except SourceError as error:
                yield Check(f"prepare.splits.{name}", "wrong", str(error))
                continue
            if taken.records:
                read = Records(taken.folder)
                lengths += [
                    sum(len(t.text) for t in read[i].conversations) for i in range(len(read))
                ]
        yield judged(name, taken, prepare.quarantine_limit)
    if lengths:
        plan.text_tokens = max(1, round(fmean(lengths) / _CHARACTERS))


def first_items(split: "SplitPaths", prepare: "Prepare", folder: Path) -> "Intake":
    """What `take_in` makes of the first items.

    Raises:
        SourceError: the source cannot be read.
    """
    from diysink.artifact import Workspace
    from diysink.records import open_source, take_in

    source = open_source(split.records, split.images, split.allowed_roots)
    some = replace(source, items=lambda: islice(source.items(), FIRST))
    return take_in(
        some,
        Workspace(folder, "prepare", {}),
        "first",
        limits=prepare.image,
        max_text_bytes=prepare.max_text_bytes,
        duplicate_ids=prepare.duplicate_ids,
    )


def judged(name: str, taken: "Intake", limit: float) -> Check:
    """Wrong, where more than one item is bad and they are more than the run's limit."""
    bad = taken.rejections
    remark = f"{taken.records} of the first {taken.items} items are taken"
    if bad:
        first = bad[0]
        remark += f", {len(bad)} quarantined; item {first.index}: {first.reason}: {first.detail}"
    wrong = len(bad) > 1 and len(bad) > limit * taken.items
    return Check(f"prepare.splits.{name}", "wrong" if wrong else "ok", remark)
