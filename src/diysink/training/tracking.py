"""Lightning's metrics in the MLflow run that the pipeline has opened."""

from typing import Any, no_type_check

from lightning.pytorch.loggers import MLFlowLogger


class RunMetrics(MLFlowLogger):
    """Writes into a run that goes on after the training, so it never says that the run has ended.

    Lightning's own sets the whole run to FINISHED or FAILED when one training ends.
    """

    @no_type_check
    def finalize(self, status: str = "success") -> None:
        """Nothing: whoever opened the run ends it."""


def mlflow_logger(run_id: str, tracking_uri: str, prefix: str) -> Any:
    """A Lightning logger that writes into an MLflow run that is already open.

    Args:
        run_id: the open run.
        tracking_uri: where it is.
        prefix: put before every metric's name (several trainings share a run).
    """
    return RunMetrics(run_id=run_id, tracking_uri=tracking_uri, log_model=False, prefix=prefix)
