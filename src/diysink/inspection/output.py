"""What a census leaves in its folder: the card, its replicates and the page."""

import logging
from pathlib import Path

from diysink.census import Card, Census, Images, write_page
from diysink.inspection.inner import InnerCensus
from diysink.inspection.maps import examples_inside

WORK, PAGE = ".work", "index.html"
logger = logging.getLogger(__name__)


def write_outputs(card: Card, census: Census | InnerCensus, images: Images, folder: Path) -> None:
    """Write card and page.

    Args:
        card: what was found.
        census: of the encoder, which shows some images again.
        images: those of the card.
        folder: for both.
    """
    card.save(folder)
    if isinstance(census, InnerCensus):
        write_page(card.plain, examples_inside(census, images, card), folder / PAGE)
    elif census.all_layers:
        write_page(card.plain, census.examples(images, card), folder / PAGE)
    else:
        logger.info("The page needs all layers: the card alone was written.")
