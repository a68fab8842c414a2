"""What each stage cost and which run made it, written as files when its last node is done.

The report reads these files, and DVC keeps them as outputs of the stage: one restored from DVC's
cache brings back its old seconds and its old MLflow run id. A node belongs to the stage that its
tag ``stage.<name>`` says.
"""

import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from pipelines.hooks.environment import code_state, environment
from pipelines.hooks.memory import child_peak_bytes, peak_bytes, reset_peak

ENVIRONMENT_FILE = "data/08_reporting/environment.json"
_PREFIX = "stage."
_log = logging.getLogger(__name__)


def timings_file(stage: str) -> str:
    """Where seconds and memory of ``stage`` are written, from the project's root."""
    return f"data/08_reporting/timings/{stage}.json"


def run_file(stage: str) -> str:
    """Where the MLflow run that made ``stage`` is written, from the project's root."""
    return f"data/08_reporting/runs/{stage}.json"


def stage_of(node: Node) -> str | None:
    """Name of the stage a node belongs to, or None."""
    return next((t.removeprefix(_PREFIX) for t in node.tags if t.startswith(_PREFIX)), None)


def stages_of(pipeline: Pipeline) -> list[str]:
    """The stages that have a node in ``pipeline``, in the order of the run."""
    return list(dict.fromkeys(stage for node in pipeline.nodes if (stage := stage_of(node))))


class Stages:
    """Times the nodes of a run and writes ``timings/<stage>.json`` and ``runs/<stage>.json``.

    A node lasts from the load of its first input to the save of its last output. Peaks of memory
    are of this process; of worker processes, the largest that has ended is given.
    """

    def __init__(self) -> None:
        self._project = Path()
        self._stages: dict[str, str] = {}  # node -> stage
        self._unsaved: dict[str, set[str]] = {}  # node -> outputs not saved yet
        self._started: dict[str, float] = {}
        self._nodes: dict[str, list[dict[str, Any]]] = {}
        self._facts: dict[str, Any] = {}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline) -> None:
        """Note the nodes to come, and describe the environment."""
        from diysink.artifact import write_json

        self._project = Path(run_params["project_path"])
        self._stages = {n.name: stage for n in pipeline.nodes if (stage := stage_of(n))}
        self._unsaved = {n.name: set(n.outputs) for n in pipeline.nodes if stage_of(n)}
        self._started, self._nodes = {}, {stage: [] for stage in stages_of(pipeline)}
        self._facts = {"environment": environment(), "code": code_state(self._project)}
        write_json(self._project / ENVIRONMENT_FILE, self._facts)

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """The first load starts the node's clock."""
        self._start(node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """A node without inputs starts here."""
        self._start(node)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """A node without outputs ends here."""
        if not node.outputs:
            self._end(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """The last save stops the node's clock."""
        unsaved = self._unsaved.get(node.name)
        if unsaved is None:
            return
        unsaved.discard(dataset_name)
        if not unsaved:
            self._end(node)

    def _start(self, node: Node) -> None:
        if node.name in self._stages and node.name not in self._started:
            _log.info("%s: %s", self._stages[node.name], node.name)
            reset_peak()
            self._started[node.name] = time.perf_counter()

    def _end(self, node: Node) -> None:
        stage = self._stages.pop(node.name, None)
        if stage is None:
            return
        seconds = time.perf_counter() - self._started[node.name]
        measured = {"name": node.name, "seconds": round(seconds, 3), "peak_bytes": peak_bytes()}
        self._nodes[stage].append(measured)
        if stage not in self._stages.values():
            self._write(stage)

    def _write(self, stage: str) -> None:
        from diysink.artifact import write_json

        nodes = self._nodes[stage]
        timings = {
            "stage": stage,
            "seconds": round(sum(node["seconds"] for node in nodes), 3),
            "peak_bytes": max(node["peak_bytes"] for node in nodes),
            "child_peak_bytes": child_peak_bytes(),
            "nodes": nodes,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(self._project / timings_file(stage), timings)
        run = {
            "stage": stage,
            "run_id": _log_cost(stage, timings),
            "dvc_stage": os.environ.get("DVC_STAGE"),
            "dvc_experiment": os.environ.get("DVC_EXP_NAME"),
            **self._facts,
        }
        write_json(self._project / run_file(stage), run)
        _log.info("%s done in %.1f s", stage, timings["seconds"])


def _log_cost(stage: str, timings: dict[str, Any]) -> str | None:
    """Log the stage's cost to the active MLflow run; its id, or None where tracking is off."""
    import mlflow

    if (active := mlflow.active_run()) is None:
        return None
    megabytes = timings["peak_bytes"] / 2**20
    mlflow.log_metrics({f"seconds.{stage}": timings["seconds"], f"peak_mib.{stage}": megabytes})
    return str(active.info.run_id)
