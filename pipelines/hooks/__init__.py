"""What happens around every ``kedro run``: tracking, timings, tidying up and the closing table.

Kept light: every ``kedro`` command imports this package, so mlflow, torch and the library are
imported inside the functions that use them.
"""

import logging

from pipelines.hooks.cleaning import Cleaning
from pipelines.hooks.stages import Stages
from pipelines.hooks.summary import Summary
from pipelines.hooks.tracking import Tracking

# kedro-mlflow defines a model class without type hints when it is imported, and MLflow says so at
# every kedro command, overriding all warning filters. The class is not ours and not used here.
logging.getLogger("py.warnings").addFilter(
    lambda record: "Add type hints to the `predict` method" not in record.getMessage()
)

HOOKS: tuple[object, ...] = (Summary(), Cleaning(), Stages(), Tracking())
