"""What every stage imports: loaded once, in the server that runs are forked from."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import great_expectations  # noqa: F401
import kedro_mlflow  # noqa: F401
import lightning  # noqa: F401
import transformers  # noqa: F401

import diysink.model
import diysink.training  # noqa: F401
