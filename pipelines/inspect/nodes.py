"""The sink census of an encoder, with its page."""

from pathlib import Path
from typing import TYPE_CHECKING

from diysink.artifact import Workspace, write_manifest

if TYPE_CHECKING:
    from pipelines.inspect.settings import Inspect


def inspect_encoder(inspect: "Inspect", workspace: str, device: str) -> Path:
    """Measure every layer, print the verdict, and write ``card.json`` and ``index.html``.

    Raises:
        ValueError: no model or no images are named; and what `diysink.census.inspect` refuses.
    """
    from rich.console import Console

    from diysink.census import Census, Options, census_of, write_page

    if inspect.model is None or inspect.images is None:
        raise ValueError(
            "inspect.model and inspect.images are needed: kedro run --pipelines inspect --params "
            "inspect.model=facebook/dinov2-small,inspect.images=photos"
        )
    options = inspect.model_dump(exclude={"model", "revision", "images"})
    census: Census = census_of(
        inspect.model, Options(**options, device=device), revision=inspect.revision
    )
    card = census.run(inspect.images, workspace, progress=True)
    folder = Workspace(workspace, "inspect", {"card": card.digest}).folder("census")
    card.save(folder)
    if census.all_layers:
        examples = census.examples(inspect.images, card)
        write_page(card.plain, examples, folder / "index.html")
    write_manifest(folder, kind="census", model=card.plain["model"]["digest"])
    for line in card.lines:
        Console().print(line, highlight=False, soft_wrap=True)
    return folder
