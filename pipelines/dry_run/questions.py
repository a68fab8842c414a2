"""The published benchmarks of the run: are their files there, how many answers are asked for?"""

from collections.abc import Iterator

from pipelines.dry_run.check import Check
from pipelines.dry_run.plan import Plan


def questions(plan: Plan) -> Iterator[Check]:
    """A check of each chosen benchmark, opened as the run opens it, and the number of answers."""
    if "benchmarks" not in plan.stages:
        return
    from pipelines.benchmarks.asked import Asked

    settings, total = plan.settings["benchmarks"], 0
    for row, folder in settings.rows():
        what = f"benchmarks.chosen.{row.name}"
        asked = Asked.of(row, folder)
        if asked.items is not None:
            count = len(asked.items)
            total += count if settings.limit is None else min(count, settings.limit)
            yield Check(what, "ok", f"{count:,} questions")
        elif settings.download and row.hub is not None and not folder.exists():
            yield Check(what, "not looked up", f"{row.hub}: asked of the hub when the run starts")
        else:
            yield Check(what, "missing", asked.described["not_run"])
    if total:
        variants, seeds = plan.evaluate.variants, len(plan.settings["seeds"])
        asked_of = len(variants.trained) * seeds + len(variants.changed)
        remark = f"{total * asked_of:,}: {total:,} questions, asked {asked_of} times (variants)"
        yield Check("answers of benchmarks", "estimate", remark)
