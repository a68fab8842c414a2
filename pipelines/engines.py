"""The engine that the parameters ask for; a run ends its workers when it ends."""

from typing import TYPE_CHECKING

from pipelines.ending import at_end

if TYPE_CHECKING:
    from diysink.engine import Engine, EngineName
    from pipelines.shared import Ray

_on_devices: "list[Engine]" = []


def engine_of(
    name: "EngineName", workers: int, ray: "Ray | None" = None, device: str = "cpu"
) -> "Engine":
    """As `diysink.engine.make_engine`; its workers stay warm for the next node of this run.

    Args:
        name: of the engine.
        workers: how many tasks at once.
        ray: the cluster.
        device: where the work is done. Workers on another device than a CPU end with the node:
            the device's memory is the next node's.
    """
    from diysink.device import resolve_device
    from diysink.engine import make_engine

    engine = make_engine(name, workers, **(ray.model_dump() if ray else {}))
    at_end(engine.close)
    if (ray and ray.num_gpus) if name == "ray" else resolve_device(device).type != "cpu":
        _on_devices.append(engine)
    return engine


def free_devices() -> None:
    """End the workers that keep models on a device."""
    while _on_devices:
        _on_devices.pop().close()
