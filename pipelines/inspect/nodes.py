"""The sink census of a vision encoder, or of a whole vision-language model, with its page."""

from pathlib import Path
from typing import TYPE_CHECKING

from diysink.artifact import Workspace, digest_source, write_manifest
from pipelines.engines import engine_of

if TYPE_CHECKING:
    from diysink.engine import EngineName
    from pipelines.inspect.settings import Inspect
    from pipelines.shared import Ray


def inspect_model(
    inspect: "Inspect",
    workspace: str,
    device: str,
    engine: "EngineName" = "local",
    ray: "Ray | None" = None,
) -> Path:
    """Measure every layer, print the verdict, and write ``card.json`` and ``index.html``.

    Raises:
        ValueError: no model or no images are named; and what `diysink.inspect` refuses.
    """
    from rich.console import Console

    import diysink

    if inspect.model is None or inspect.images is None:
        raise ValueError(
            "inspect.model and inspect.images are needed: kedro run --pipelines inspect --params "
            "inspect.model=facebook/dinov2-small,inspect.images=photos"
        )
    settings = inspect.model_dump(exclude={"workers"})
    runner = engine_of(engine, inspect.workers, ray, device)
    inputs = settings | {"model": digest_source(inspect.model, inspect.revision)}
    folder = Workspace(workspace, "inspect", inputs).folder("census")
    card = diysink.inspect(**settings, device=device, engine=runner, out=folder)
    write_manifest(folder, kind="census", model=card.plain["model"]["digest"])
    for line in card.lines:
        Console().print(line, highlight=False, soft_wrap=True)
    return folder
