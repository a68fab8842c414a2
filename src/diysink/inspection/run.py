"""The one entrance: a vision encoder, or a whole vision-language model, by what it is."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from diysink.analysis.stock import StockSubject
from diysink.architectures import UnsupportedModelError
from diysink.artifact import Workspace
from diysink.census import Card, Census, Images, Options, census_of, write_page
from diysink.census import inspect as inspect_encoder
from diysink.census.card import make_card
from diysink.census.language import VERSION
from diysink.census.run import NAMED, PAGE, SUMS, WORK
from diysink.census.totals import Totals
from diysink.encoders import Encoder
from diysink.engine import DTYPES, resolve_device
from diysink.inspection.inner import InnerCensus
from diysink.inspection.measured import QUESTION, Asked, measured_language
from diysink.inspection.opened import Closed, Opened, opened
from diysink.inspection.passes import Pass

logger = logging.getLogger(__name__)


def inspect(
    model: Path | str | PreTrainedModel,
    images: Images,
    *,
    out: Path | str | None = None,
    revision: str | None = None,
    processor: Any = None,
    language: bool = True,
    question: str = QUESTION,
    answers: bool = False,
    tau: float | None = None,
    progress: bool = True,
    **options: Any,
) -> Card:
    """The sink census of a vision encoder or of a whole vision-language model.

    What it is, its configuration says. Of a vision-language model the card has, beside the layers
    of its vision encoder, a part ``language``: what the connector makes of V-sinks, and the
    attention that they get in every layer of the language model.

    Args:
        model: a folder, a hub id, or a model of transformers in memory: a vision tower, or a
            vision-language model, which then stays on its device and in its dtype.
        images: a folder, a parquet file, or a list of paths, encoded files or PIL images.
        out: folder for the card, the page and, on the way, the sums; None: the card alone is
            returned.
        revision: of a hub id.
        processor: of a model in memory: an image processor, or a vision-language model's own
            processor; None: the checkpoint's.
        language: whether the language part is measured.
        question: that the vision-language model is asked about each image.
        answers: whether answers are generated with and without the massive dimensions of V-sinks:
            three answers an image.
        tau: from which norm a visual token is a V-sink; None: the threshold of the encoder's part,
            or, where there is none, the loudest 1 % of each image.
        progress: whether a bar is shown.
        options: of `diysink.census.Options`.

    Raises:
        CheckpointError: not a checkpoint that can be read.
        SourceError: no image.
        UnsupportedModelError: an architecture that is not supported.
        ValueError: options that do not fit; images of several sizes.
    """
    settings = Options(**options)
    whole: Opened | Closed | None = None
    if language:
        device = resolve_device(settings.device)
        whole = opened(model, revision, processor, DTYPES[settings.dtype], device)
    if whole is None:
        return inspect_encoder(
            model, images, out=out, revision=revision, processor=processor, progress=progress,
            **options,
        )  # fmt: skip
    work = None if out is None else Path(out) / WORK
    census: Census | None
    if isinstance(whole, Closed):
        logger.warning("The language part is left out: %s", whole.reason)
        tower = model if isinstance(model, str | Path) else model.base_model.vision_tower
        census = census_of(tower, settings, revision=revision, processor=processor)
        card = census.run(images, work, progress=progress)
        card = with_language(card, {"version": VERSION, "lacks": whole.reason}, {})
    else:
        weight = next(whole.tower.parameters())
        own = next(name for name, dtype in DTYPES.items() if dtype == weight.dtype)
        settings = replace(settings, device=str(weight.device), dtype=own)
        census = alone(whole, settings)
        if census is not None:
            card = census.run(images, work, progress=progress)
        else:
            card = _inside(whole, images, settings, work, progress)
        asked = Asked(question, answers, tau, settings)
        card = _with_measured(card, whole, images, asked, work, progress)
    if out is None:
        return card
    folder = Path(out)
    card.save(folder)
    if census is None or census.all_layers:
        examples = [] if census is None else census.examples(images, card)
        write_page(card.plain, examples, folder / PAGE)
    shutil.rmtree(folder / WORK, ignore_errors=True)  # the card holds what the sums said
    return card


def with_language(card: Card, part: Mapping[str, Any], replicates: Mapping[str, Any]) -> Card:
    """The card of an encoder with a language part; its sentences follow the encoder's."""
    verdict = card.plain["verdict"]
    lines = [*verdict["lines"], *part.get("lines", ())]
    plain = card.plain | {"verdict": verdict | {"lines": lines}, "language": dict(part)}
    return Card(plain, {**card.replicates, **replicates})


def alone(whole: Opened, settings: Options) -> Census | None:
    """The census of the encoder by itself; None: it has to be run by its model.

    It needs an encoder that runs alone, and an image processor that makes one picture of an image.
    """
    subject = whole.subject
    if isinstance(subject, StockSubject) and (
        subject.encoder.architecture is None or subject.family.tiles
    ):
        return None
    try:
        census = Census(Encoder.of(whole.tower, -1, whole.name), whole.images, settings)
        census.about()  # prepares a picture and looks at its grid
    except (ValueError, TypeError, AttributeError, KeyError):
        return None
    return census


def _inside(
    whole: Opened, images: Images, settings: Options, work: Path | None, progress: bool
) -> Card:
    """The encoder's part where only the model can run the encoder."""
    assert isinstance(whole.subject, StockSubject)
    inner = InnerCensus(whole.subject, settings.replicates, settings.seed)
    about = inner.about(whole.name, settings.dtype)
    file, begun = None, Totals()
    inputs = [about, settings.replicates, settings.seed]
    space = None if work is None else Workspace(work, "inspect", inputs)
    if space is not None:
        file = space.path / SUMS
        begun = Totals.load(file) if file.exists() else begun
    way = Pass(images, settings.limit, progress)
    totals = way.run(begun, Totals, inner.add, file, "encoder")
    found = {
        "count": totals.count,
        "digest": totals.chain,
        "left_out": len(way.refused),
        "left_out_names": [f"{one.name}: {one.reason}" for one in way.refused[:NAMED]],
        "replicates": settings.replicates,
        "seed": settings.seed,
    }
    software = {name: version(name) for name in ("diysink", "torch", "transformers")}
    everything = {"model": about, "images": found, "software": software}
    return make_card(totals, everything, list(range(len(inner.blocks) + 1)))


def _with_measured(
    card: Card, whole: Opened, images: Images, asked: Asked, work: Path | None, progress: bool
) -> Card:
    try:
        part, replicates = measured_language(whole, card, images, asked, work, progress)
    except UnsupportedModelError as error:
        logger.warning("The language part is left out: %s", error)
        return with_language(card, {"version": VERSION, "lacks": str(error)}, {})
    return with_language(card, part, replicates)
