"""The engine that the parameters ask for; a run ends its workers when it ends."""

from typing import TYPE_CHECKING

from pipelines.ending import at_end

if TYPE_CHECKING:
    from diysink.engine import Engine, EngineName
    from pipelines.shared import Ray


def engine_of(name: "EngineName", workers: int, ray: "Ray | None" = None) -> "Engine":
    """As `diysink.engine.make_engine`; its workers stay warm for the next stage of this run."""
    from diysink.engine import make_engine

    engine = make_engine(name, workers, **(ray.model_dump() if ray else {}))
    at_end(engine.close)
    return engine
