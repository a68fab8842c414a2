"""Removes the unfinished work of stages once the run that needed it has succeeded."""

from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from pipelines.hooks.stages import stages_of


class Cleaning:
    """Clears the workspaces of the stages that ran.

    Only after the whole run: one that dies in a late stage leaves the work of the early ones, and
    the next run takes their results from there instead of training again.
    """

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Clear ``<workspace>/<stage>`` of each stage of the run."""
        if "params:workspace" not in catalog:
            return
        from diysink.artifact import Workspace

        root = Path(run_params["project_path"]) / catalog.load("params:workspace")
        for stage in stages_of(pipeline):
            Workspace.clear(root, stage)
