"""Shared by all tests: shapes are checked at run time, one thread, nothing asks a hub."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")

from jaxtyping import install_import_hook

# Every function of the library runs with its shape annotations checked.
install_import_hook("diysink", "beartype.beartype")
