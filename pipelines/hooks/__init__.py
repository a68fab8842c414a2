"""What happens around every ``kedro run``: turns, tracking, timings and the closing table.

Kept light: every ``kedro`` command imports this package, so mlflow, torch and the library are
imported inside the functions that use them.
"""

import logging
import os
import sys

from pipelines.hooks.engines import Engines
from pipelines.hooks.outputs import Outputs
from pipelines.hooks.parameters import Parameters
from pipelines.hooks.runs import Intents, Runs
from pipelines.hooks.stages import Stages
from pipelines.hooks.store import Store
from pipelines.hooks.summary import Summary
from pipelines.hooks.tracking import Tracking

# kedro-mlflow defines a model class without type hints when it is imported, and MLflow says so at
# every kedro command, overriding all warning filters. The class is not ours and not used here.
logging.getLogger("py.warnings").addFilter(
    lambda record: "Add type hints to the `predict` method" not in record.getMessage()
)

# Progress bars are for a terminal; a log file would hold each of their steps.
if not sys.stderr.isatty():
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

# Of those that are to be first, the last one here is: parameters are checked before a run waits,
# and it has waited before it says that it begins.
HOOKS: tuple[object, ...] = (
    Engines(),
    Summary(),
    Stages(),
    Tracking(),
    Runs(),
    Store(),
    Intents(),
    Outputs(),
    Parameters(),
)
