"""Wrong parameters stop a run before anything is opened, written or waited for."""

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from pipelines.hooks.outputs import places
from pipelines.hooks.stages import stages_of

TRAINED = ("finetuned_models", "reweightings")  # what variants name, made by this run or before


class Checks:
    """Holds the parameters against what the run's stages can use."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Raise one error for all that is wrong."""
        if "parameters" not in catalog:
            return
        from pipelines.checks import check

        read = places(catalog, pipeline.inputs() & set(TRAINED))
        project = Path(run_params["project_path"])
        made = {name: project / path for name, path in read.items()}
        check(catalog.load("parameters"), stages_of(pipeline), made)
