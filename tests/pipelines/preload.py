"""What every stage imports: loaded once, in the server that tests fork their runs from."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["OMP_NUM_THREADS"] = "1"

import great_expectations  # noqa: F401
import kedro_mlflow  # noqa: F401
import lightning  # noqa: F401
import transformers  # noqa: F401

import diysink.model
import diysink.training  # noqa: F401
