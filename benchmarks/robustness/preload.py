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

import great_expectations  # noqa: F401
import kedro.framework.session  # noqa: F401
import kedro_datasets.json
import kedro_datasets.pandas
import kedro_datasets.text  # noqa: F401
import kedro_mlflow.framework.hooks  # noqa: F401
import lightning  # noqa: F401
import matplotlib.figure  # noqa: F401
import mlflow.pyfunc
import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import sklearn.linear_model  # noqa: F401
import transformers  # noqa: F401

import diysink
import pipelines

for package in (diysink, pipelines):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name != "diysink.registry.answering":  # MLflow runs it
            import_module(module.name)
