"""What a census leaves in its folder: the card, its replicates and the page."""

import logging
from pathlib import Path

from diysink.census import Card, Census, Images, write_page

WORK, PAGE = ".work", "index.html"
logger = logging.getLogger(__name__)


def write_outputs(card: Card, census: Census | None, images: Images, folder: Path) -> None:
    """Write card and page.

    Args:
        card: what was found.
        census: of the encoder; None: it runs only inside its model, and has no example images.
        images: those of the card.
        folder: for both.
    """
    card.save(folder)
    if census is None or census.all_layers:
        examples = [] if census is None else census.examples(images, card)
        write_page(card.plain, examples, folder / PAGE)
    else:
        logger.info("The page needs all layers: the card alone was written.")
