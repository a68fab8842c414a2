"""A run and every way out of it: done, failed, interrupted, all settled here and nowhere else."""

import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.config import MissingConfigException
from kedro.framework.session import KedroSession
from kedro.runner import SequentialRunner

from pipelines.code import digest_causes
from pipelines.ending import holding
from pipelines.interrupts import Interrupted, interruptible

if TYPE_CHECKING:
    from diysink.training import Ranks

_STARTED = {"TORCHELASTIC_RUN_ID", "SLURM_STEP_ID"}  # what torchrun and srun set
logger = logging.getLogger(__name__)


class Session(KedroSession):
    """Kedro's session, whose run keeps what it works on to itself and says truly how it ended.

    | way out | status in MLflow | exit status of ``kedro run`` |
    |---|---|---|
    | all nodes are done | FINISHED | 0 |
    | an error | FAILED | 1 |
    | Ctrl-C, SIGTERM, SIGHUP | KILLED | 130, 143, 129 |

    The unfinished work of the run's stages is removed only after the first of them.

    Under torchrun or srun, rank 0 runs as if it were alone: MLflow, catalog, locks and bars are
    its own. The other ranks train with it when it comes to a training, and do nothing else.
    """

    @classmethod
    def create(
        cls,
        project_path: Path | str | None = None,
        save_on_close: bool = True,
        env: str | None = None,
        runtime_params: dict[str, Any] | None = None,
        conf_source: str | None = None,
    ) -> "Session":
        """A session.

        Raises:
            ValueError: ``env`` is no folder of the configuration.
        """
        session = super().create(project_path, save_on_close, env, runtime_params, conf_source)
        chosen, conf = session.store.get("env"), Path(session._conf_source)
        if chosen and conf.is_dir() and not (conf / chosen).is_dir():
            known = sorted(path.name for path in conf.iterdir() if path.is_dir())
            raise ValueError(
                f"--env {chosen}: {conf} has no folder of that name. There are: "
                f"{', '.join(name for name in known if name not in ('base', 'local'))}"
            )
        return session

    def run(self, *args: Any, runner: Any = None, **kwargs: Any) -> dict[str, Any]:
        """As Kedro's; nothing in ranks above 0 but to train when rank 0 does.

        Raises:
            Interrupted: a signal ended the run.
            LeaderLostError: in ranks above 0, rank 0 ended.
            ValueError: a runner that runs nodes side by side.
            DryRunError: the parameters ask for a dry run, and it found something wrong.
        """
        if (team := _team()) is None:
            return self._run(*args, runner=runner, **kwargs)
        team.meet()
        if team.rank:
            team.follow()
            return {}
        results = self._run(*args, runner=runner, **kwargs)
        team.dismiss()
        return results

    def _run(self, *args: Any, runner: Any, **kwargs: Any) -> dict[str, Any]:
        from diysink.artifact import keep_workspaces

        _check_runner(runner)
        if (parameters := self._parameters()).get("dry_run") is True:
            from pipelines.dry_run.run import dry_run

            dry_run(parameters, kwargs.get("pipeline_names") or ())
            return {}
        code = digest_causes()  # before the run: files may be edited while it lasts
        status = "FAILED"
        with interruptible() as interrupts, holding(), keep_workspaces(code) as used:
            try:
                results = super().run(*args, runner=runner, **kwargs)
                for workspace in used:
                    workspace.clear()
                interrupts.check()
                status = "FINISHED"
                return results
            except BaseException as error:
                number = interrupts.received
                if number is None and isinstance(error, KeyboardInterrupt):
                    number = signal.SIGINT
                if number is None:
                    raise
                status = "KILLED"
                logger.warning(
                    "Interrupted by %s; run again to go on from the work that is done",
                    signal.Signals(number).name,
                )
                raise Interrupted(number) from error
            finally:
                _settle(status)

    def _parameters(self) -> dict[str, Any]:
        """Read without Kedro's context, with which tracking would begin."""
        try:
            return dict(self._get_config_loader()["parameters"])
        except MissingConfigException:  # another project's
            return {}


def _team() -> "Ranks | None":
    """The processes that were started with this one, or None."""
    if not _STARTED & os.environ.keys():  # torch is not imported for nothing
        return None
    from diysink.training import ranks

    return ranks()


def _check_runner(runner: Any) -> None:
    if runner is None or (type(runner) is SequentialRunner and not runner._is_async):
        return
    name = type(runner).__name__ if type(runner) is not SequentialRunner else "--async"
    raise ValueError(
        f"{name} runs or saves several nodes side by side; the nodes of this project use all cores "
        "or the GPU themselves, share one MLflow run, and load models in ways that threads must "
        "not. Leave it out (SequentialRunner). What can run side by side has parameters: "
        "num_processes, align.num_workers, and the workers of prepare, sinks, inspect, evaluate, "
        "benchmarks and tune."
    )


def _settle(status: str) -> None:
    from pipelines.hooks.runs import settle

    try:
        settle(status)
    except Exception as error:  # the run's own error is what has to be seen
        logger.warning("MLflow was not told that the run is %s: %s", status, error)
