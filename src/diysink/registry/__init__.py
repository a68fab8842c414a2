"""Package a model for MLflow, register it, and decide by figures which version is in charge.

Aliases: ``challenger`` is the version registered last, ``champion`` the one in charge. A champion
is only replaced by a challenger that is better on the same items, or not worse by a set margin.
"""

import os

# Before MLflow is imported: by default it reports its use to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from diysink.registry.client import RegistryUnreachableError
from diysink.registry.comparison import Comparison, ItemsDifferError, compare
from diysink.registry.lock import check_model_name, deciding
from diysink.registry.package import package_digest, package_model
from diysink.registry.packaged import PackagedModel
from diysink.registry.promotion import (
    challenge,
    find_version,
    promote,
    register,
    registered_version,
    rollback,
    usable_version,
)
from diysink.registry.state import (
    CHALLENGER,
    CHAMPION,
    BrokenRecordError,
    Decision,
    decisions,
)
from diysink.registry.usable import UnusableVersionError

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "BrokenRecordError",
    "Comparison",
    "Decision",
    "ItemsDifferError",
    "PackagedModel",
    "RegistryUnreachableError",
    "UnusableVersionError",
    "challenge",
    "check_model_name",
    "compare",
    "deciding",
    "decisions",
    "find_version",
    "package_digest",
    "package_model",
    "promote",
    "register",
    "registered_version",
    "rollback",
    "usable_version",
]
