"""What every stage imports: loaded once, in the server that runs are forked from."""

import os
import pkgutil
import warnings
from importlib import import_module

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
warnings.simplefilter("ignore")

LATE = (  # imported inside functions, in whatever run is first to need them
    "great_expectations",
    "kedro_datasets.json",
    "kedro_datasets.pandas",
    "kedro_datasets.text",
    "kedro_mlflow.framework.hooks",
    "lightning",
    "matplotlib.figure",
    "mlflow.pyfunc",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "sklearn.linear_model",
    "transformers",
)
for name in LATE:
    import_module(name)
for package in map(import_module, ("diysink", "pipelines")):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name != "diysink.registry.answering":  # MLflow runs it
            import_module(module.name)
