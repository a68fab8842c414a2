"""From the parameters ``engine`` and ``ray`` to an engine."""

from typing import Any, Literal

from diysink.engine.cluster import RayEngine
from diysink.engine.engine import Engine
from diysink.engine.local import LocalEngine

EngineName = Literal["local", "ray"]


def make_engine(name: EngineName, workers: int = 0, **ray: Any) -> Engine:
    """An engine; Ray is imported and reached when it first runs.

    Args:
        name: ``local`` (this process or processes of this machine) or ``ray``.
        workers: how many tasks at once; 0 is this process, or with Ray as many as have room.
        ray: options of `diysink.engine.RayEngine`; passed over for ``local``.
    """
    match name:
        case "local":
            return LocalEngine(workers)
        case "ray":
            return RayEngine(workers, **ray)
        case _:
            raise ValueError(f"engine is {name!r}; it must be local or ray.")
