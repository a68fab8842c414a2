"""Lightning's metrics in the MLflow run that the pipeline has opened."""

from typing import Any


def mlflow_logger(run_id: str, tracking_uri: str, prefix: str) -> Any:
    """A Lightning logger that writes into an MLflow run that is already open.

    Args:
        run_id: the open run.
        tracking_uri: where it is.
        prefix: put before every metric's name (several trainings share a run).
    """
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(run_id=run_id, tracking_uri=tracking_uri, log_model=False, prefix=prefix)
