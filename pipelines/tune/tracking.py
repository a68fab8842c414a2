"""Each trial as a nested run of the MLflow run that is open."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def log_trial(study: str, trial: "FrozenTrial") -> None:
    """A run with the trial's values, its accuracy and the time that it took; none without a parent.

    Args:
        study: its name in the parameters.
        trial: a completed one.
    """
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    parent = mlflow.active_run()
    if parent is None or trial.datetime_start is None or trial.datetime_complete is None:
        return
    start, end = (
        int(1000 * time.timestamp()) for time in (trial.datetime_start, trial.datetime_complete)
    )
    client = MlflowClient()
    run = client.create_run(
        parent.info.experiment_id,
        start_time=start,
        run_name=f"{study}-{trial.number}",
        tags={"mlflow.parentRunId": parent.info.run_id, "study": study},
    )
    client.log_batch(
        run.info.run_id,
        metrics=[Metric("search_accuracy", float(trial.value or 0.0), end, 0)],
        params=[Param(path, str(value)) for path, value in trial.params.items()],
    )
    client.set_terminated(run.info.run_id, end_time=end)
