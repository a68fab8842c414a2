"""The Great Expectations suites: one for each table, each expectation with its rule in words."""

import os
from datetime import UTC, datetime
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diysink.records import GROUPS
from pipelines.prepare.settings import Prepare
from pipelines.prepare.tables import QUARANTINE

EXAMPLES = 5
# Pages are named by the time of the check; the same records are to give the same pages.
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def run_suites(
    tables: dict[str, pd.DataFrame], prepare: Prepare, docs: Path
) -> list[dict[str, Any]]:
    """Hold every table against its suite and build the Data Docs in ``docs``.

    Returns:
        For each rule: table, rule, passed, checked and failed (rows), examples (five texts).
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.core.run_identifier import RunIdentifier
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    for site in list(context.get_site_names()):
        context.delete_data_docs_site(site)
    store = {
        "class_name": "TupleFilesystemStoreBackend",
        "base_directory": str(docs.resolve()).replace("$", r"\$"),
    }
    index = {"class_name": "DefaultSiteIndexBuilder"}
    context.add_data_docs_site(
        "records",
        {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": index},
    )
    source = context.data_sources.add_pandas("records")
    rules: list[dict[str, Any]] = []
    for name, table in tables.items():
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(
            gx.ExpectationSuite(name, expectations=expectations(name, prepare))
        )
        definition = context.validation_definitions.add(
            gx.ValidationDefinition(name=name, data=batch, suite=suite)
        )
        checkpoint = gx.Checkpoint(
            name=name,
            validation_definitions=[definition],
            result_format={
                "result_format": "SUMMARY",
                "unexpected_index_column_names": ["id"],
                "partial_unexpected_count": EXAMPLES,
            },
        )
        context.checkpoints.add(checkpoint)
        outcomes = checkpoint.run(
            {"dataframe": _escaped(table)}, run_id=RunIdentifier("prepare", _NO_TIME)
        )
        (outcome,) = outcomes.run_results.values()
        rules += [_rule(name, table, result) for result in outcome.results]
    context.build_data_docs(["records"])
    return rules


def expectations(table: str, prepare: Prepare) -> list[Any]:
    """The suite of the table called ``table``."""
    split, _, kind = table.rpartition(" ")
    match kind:
        case "records":
            return _of_records()
        case "images":
            return _of_images(prepare, held_out=split in prepare.held_out)
        case "groups":
            return _of_groups(prepare.group_shares[split])
        case _:
            return _of_quarantine(prepare.quarantine_limit)


def _of_records() -> list[Any]:
    import great_expectations.expectations as gxe

    return [
        gxe.ExpectColumnValuesToNotBeNull(column="id", meta=_says("ids are present")),
        gxe.ExpectColumnValuesToBeUnique(column="id", meta=_says("ids are unique")),
        gxe.ExpectColumnValuesToMatchRegex(
            column="speakers",
            regex="^(?:hg)*$",
            meta=_says("turns alternate, human first, gpt last"),
        ),
        gxe.ExpectColumnPairValuesToBeEqual(
            column_A="placeholders", column_B="expected", meta=_says("one placeholder an image")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="shortest", min_value=1, meta=_says("answers are not empty")
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="group", value_set=list(GROUPS), meta=_says("groups are known or absent")
        ),
    ]


def _of_images(prepare: Prepare, *, held_out: bool) -> list[Any]:
    import great_expectations.expectations as gxe

    limits = prepare.image
    rules = [
        gxe.ExpectColumnValuesToBeInSet(
            column="decodes", value_set=["yes"], meta=_says("images decode from the shards")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="short_side", min_value=limits.min_side, meta=_says("no side is too short")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="pixels", max_value=limits.max_pixels, meta=_says("no image is too large")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="aspect", max_value=limits.max_aspect, meta=_says("no image is too narrow")
        ),
    ]
    if held_out:
        alone = _says("no image is shared with another split")
        rules.append(gxe.ExpectColumnValuesToBeNull(column="shared_with", meta=alone))
    return rules


def _of_groups(least: float) -> list[Any]:
    import great_expectations.expectations as gxe

    balanced = _says(f"every group has at least {least:.0%} of the labelled records")
    return [gxe.ExpectColumnValuesToBeBetween(column="share", min_value=least, meta=balanced)]


def _of_quarantine(limit: float) -> list[Any]:
    import great_expectations.expectations as gxe

    few = _says(f"at most {limit:.2%} of a split's items are quarantined")
    return [gxe.ExpectColumnValuesToBeBetween(column="share", max_value=limit, meta=few)]


def _says(rule: str) -> dict[str, str]:
    return {"rule": rule}


def _escaped(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its texts made harmless: the pages show users' texts as they come."""
    # Of a million texts next to none has such a sign: the columns that have none are not made anew.
    harmless = table.copy(deep=False)
    for name in table.select_dtypes(["str", "object"]):
        if table[name].astype("str").str.contains("[&<>\"']", na=False).any():
            harmless[name] = table[name].map(lambda v: escape(v) if isinstance(v, str) else v)
    return harmless


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()  # 0.0 in a message, not np.float64(0.0)
    return unescape(value) if isinstance(value, str) else value


def _rule(name: str, table: pd.DataFrame, outcome: Any) -> dict[str, Any]:
    found = outcome.result
    failed = found.get("unexpected_count", 0)
    if outcome.success or not failed:  # not failed and no success: the expectation itself raised
        examples = [] if outcome.success else [str(outcome.exception_info)[:500]]
    elif name == QUARANTINE:
        bad = {_plain(row["id"]) for row in found["partial_unexpected_index_list"]}
        lists = table[table["id"].isin(bad)].set_index("id")["examples"].items()
        examples = [f"{split}, {each}" for split, items in lists for each in items][:EXAMPLES]
    else:
        rows = found["partial_unexpected_index_list"][:EXAMPLES]
        examples = [", ".join(f"{k}={_plain(row[k])!r}" for k in sorted(row)) for row in rows]
    return {
        "table": name,
        "rule": outcome.expectation_config.meta["rule"],
        "passed": bool(outcome.success),
        "checked": len(table) - int(found.get("missing_count") or 0),
        "failed": int(failed),
        "examples": examples,
    }
