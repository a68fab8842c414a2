"""Pure functions on many tasks: in this process, in local processes, or on a cluster of Ray."""

from diysink.engine.cluster import RayEngine
from diysink.engine.engine import Engine, WorkerDiedError
from diysink.engine.local import LocalEngine
from diysink.engine.make import EngineName, make_engine
from diysink.engine.once import Once, made_there

__all__ = [
    "Engine",
    "EngineName",
    "LocalEngine",
    "Once",
    "RayEngine",
    "WorkerDiedError",
    "made_there",
    "make_engine",
]
