"""Wrong parameters stop a run before anything is opened or written; nodes get settings."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from pipelines.hooks.outputs import places
from pipelines.hooks.stages import stages_of

TRAINED = ("finetuned_models", "reweightings")  # what variants name, made by this run or before
# Stages that train, with the settings of their trainers, whose processes torchrun or srun starts.
TRAINERS = {name: (name,) for name in ("align", "finetune", "reweight")} | {
    "dose": ("align", "finetune")
}
IN_PLACE = {"sinks"}  # stages that read records at a URL
_PREFIX = "params:"


class Parameters:
    """Builds the settings; hands them to the nodes in place of the parameters of these names.

    The catalog keeps the parameters as they were read, which is what MLflow logs.
    """

    def __init__(self) -> None:
        self._settings: dict[str, Any] = {}

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Raise one error for all that is wrong."""
        self._settings = {}
        stages = stages_of(pipeline)
        if not stages or "parameters" not in catalog:  # another project's pipeline
            return
        from pipelines.parameters import build

        read = places(catalog, pipeline.inputs() & set(TRAINED))
        project = Path(run_params["project_path"])
        made = {name: project / path for name, path in read.items()}
        self._settings = build(catalog.load("parameters"), stages, made)
        for name in {name for stage in stages for name in TRAINERS.get(stage, ())}:
            from diysink.training import check_started

            check_started(self._settings[name].trainer)
        check_records(catalog, pipeline, stages)

    @hook_impl
    def before_node_run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The settings that a node takes."""
        taken = {name: name.removeprefix(_PREFIX) for name in inputs if name.startswith(_PREFIX)}
        return {name: self._settings[key] for name, key in taken.items() if key in self._settings}


def check_records(catalog: CatalogProtocol, pipeline: Pipeline, stages: Collection[str]) -> None:
    """Refuse records at a URL to a stage that needs them in a folder.

    Raises:
        ValueError: there is such a stage.
    """
    if "records" not in pipeline.inputs():
        return
    where = getattr(catalog.get("records"), "url", None)
    if where is not None and (others := sorted(set(stages) - IN_PLACE)):
        raise ValueError(
            f"The catalog has the records at {where}, which {', '.join(sorted(IN_PLACE))} alone "
            f"reads in place. For {', '.join(others)} copy them to a folder."
        )
