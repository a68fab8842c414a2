"""Runs in one checkout take turns at the same files; runs that share none go side by side."""

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from pipelines.ending import at_end, end_loose
from pipelines.hooks.stages import run_file, stage_of, stages_of, timings_file

LOCKS = "data/.locks"


class Outputs:
    """Locks a run's datasets until it ends: what it writes for itself, what it reads with others.

    So no run reads files of which another is just replacing half, or mixes another's results with
    its own. Locks are taken in the order of their names: two runs never wait for each other.
    """

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Wait for whoever writes what this run reads, and for all who use what it writes."""
        from diysink.artifact import FileLock, sweep

        end_loose()  # of a run that failed before Kedro's plain session could say so
        project = Path(run_params["project_path"])
        written = places(catalog, pipeline.all_outputs())
        for stage in stages_of(pipeline):
            written[f"stage.{stage}"] = project / timings_file(stage)
        read = places(catalog, pipeline.inputs())
        together = written_together(catalog, pipeline)
        for name, path in sorted((read | written).items()):
            alone = name in written and name not in together
            lock = FileLock(project / LOCKS / f"{name}.lock", shared=not alone, what=str(path))
            lock.acquire()
            at_end(lock.release)
            if alone:
                sweep(path)
        for stage in stages_of(pipeline):
            if f"stage.{stage}" not in together:
                sweep(project / run_file(stage))

    @hook_impl(trylast=True)
    def after_pipeline_run(self) -> None:
        """Kedro's plain session ends here; this project's own settles it itself."""
        end_loose()

    @hook_impl(trylast=True)
    def on_pipeline_error(self) -> None:
        """As `after_pipeline_run`."""
        end_loose()


def written_together(catalog: CatalogProtocol, pipeline: Pipeline) -> set[str]:
    """Datasets that several runs may write at once, and stages that write no others.

    Their catalog entry has ``metadata: {together: true}``.
    """
    found = {
        name
        for name in pipeline.all_outputs()
        if (getattr(catalog.get(name), "metadata", None) or {}).get("together")
    }
    stages: dict[str, set[str]] = {}
    for node in pipeline.nodes:
        if (stage := stage_of(node)) is not None:
            stages.setdefault(stage, set()).update(node.outputs)
    return found | {f"stage.{stage}" for stage, outputs in stages.items() if outputs <= found}


def places(catalog: CatalogProtocol, names: set[str]) -> dict[str, Path]:
    """Where datasets lie; those that are kept in memory, and parameters, are left out."""
    found: dict[str, Path] = {}
    for name in names:
        if name.startswith("params:") or name == "parameters":
            continue
        described: dict[str, Any] = getattr(catalog.get(name), "_describe", dict)()
        if path := described.get("filepath"):
            found[name] = Path(str(path))
    return found
