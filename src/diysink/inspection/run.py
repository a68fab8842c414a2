"""The one entrance: a vision encoder, or a whole vision-language model, by what it is."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import PreTrainedModel

from diysink.analysis.stock import StockSubject
from diysink.architectures import UnsupportedModelError
from diysink.artifact import Workspace
from diysink.census import Card, Census, Images, Options, census_of
from diysink.census.card import make_card
from diysink.census.language import VERSION
from diysink.census.passes import Pass
from diysink.census.run import SUMS, described
from diysink.census.totals import Totals
from diysink.device import DTYPES, resolve_device
from diysink.encoders import Encoder, to_pixels
from diysink.engine import Engine, Once
from diysink.inspection.inner import InnerCensus
from diysink.inspection.loading import LoadedModel, NotLoaded, load_model
from diysink.inspection.measured import QUESTION, LanguageOptions, measured_language
from diysink.inspection.output import WORK, write_outputs
from diysink.inspection.sizes import inspect_sizes

logger = logging.getLogger(__name__)


def inspect(
    model: Path | str | PreTrainedModel,
    images: Images,
    *,
    out: Path | str | None = None,
    revision: str | None = None,
    processor: Any = None,
    sizes: Sequence[int] | None = None,
    language: bool = True,
    question: str = QUESTION,
    answers: bool = False,
    tau: float | None = None,
    engine: Engine | None = None,
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
        sizes: sides in pixels that images are prepared to; None: the checkpoint's own. Of two or
            more there is one census each, in a sub-folder of ``out``, and the card returned is
            that of the sweep over them (`diysink.census.sweep`).
        language: whether the language part is measured.
        question: that the vision-language model is asked about each image.
        answers: whether answers are generated with and without the massive dimensions of V-sinks:
            three answers an image.
        tau: from which norm a visual token is a V-sink; None: the threshold of the encoder's part,
            or, where there is none, the 1 % of largest norm of each image.
        engine: where batches are measured, such as `diysink.engine.LocalEngine(2)`; None: in this
            process. Workers load the model themselves, so it must be a folder or a hub id.
        progress: whether a bar is shown.
        options: of `diysink.census.Options`, but for its size.

    Raises:
        CheckpointError: not a checkpoint that can be read.
        SourceError: no image.
        UnsupportedModelError: an architecture that is not supported.
        ValueError: options that do not fit; images of several sizes.
    """
    several = sizes is not None and len(set(sizes)) > 1
    settings = Options(**options, size=sizes[0] if sizes and not several else None)
    if several and sizes is not None:
        return inspect_sizes(
            model, images, sizes, settings, out=None if out is None else Path(out),
            revision=revision, processor=processor, language=language, engine=engine,
            progress=progress,
        )  # fmt: skip
    work = None if out is None else Path(out) / WORK
    whole: LoadedModel | NotLoaded | None = None
    census: Census | InnerCensus
    if language:
        device = resolve_device(settings.device)
        whole = load_model(model, revision, processor, DTYPES[settings.dtype], device)
    if isinstance(whole, LoadedModel):
        asked = LanguageOptions(question, answers, tau, _as_loaded(settings, whole))
        census = alone(whole, asked.options) or inside(whole, asked.options)
        if isinstance(census, InnerCensus):
            card = _inside(census, whole.name, images, work, engine, progress)
        else:
            card = census.run(images, work, engine=engine, progress=progress)
        card = _with_measured(card, whole, images, asked, work, engine, progress)
    else:
        tower: Any = model
        if isinstance(whole, NotLoaded) and not isinstance(model, str | Path):
            tower = model.base_model.vision_tower
        census = census_of(tower, settings, revision=revision, processor=processor)
        card = census.run(images, work, engine=engine, progress=progress)
        if whole is not None:
            logger.warning("The language part is left out: %s", whole.reason)
            card = with_language(card, {"version": VERSION, "lacks": whole.reason}, {})
    if out is None:
        return card
    write_outputs(card, census, images, Path(out))
    shutil.rmtree(Path(out) / WORK, ignore_errors=True)  # the card holds what the sums said
    return card


def _as_loaded(settings: Options, whole: LoadedModel) -> Options:
    """A model in memory stays where it is, and in its dtype."""
    weight = next(whole.tower.parameters())
    own = next(name for name, dtype in DTYPES.items() if dtype == weight.dtype)
    return replace(settings, device=str(weight.device), dtype=own)


def with_language(card: Card, part: Mapping[str, Any], replicates: Mapping[str, Any]) -> Card:
    """The card of an encoder with a language part; its sentences follow the encoder's."""
    verdict = card.plain["verdict"]
    lines = [*verdict["lines"], *part.get("lines", ())]
    plain = card.plain | {"verdict": verdict | {"lines": lines}, "language": dict(part)}
    return Card(plain, {**card.replicates, **replicates})


def alone(whole: LoadedModel, settings: Options) -> Census | None:
    """The census of the encoder by itself; None: it has to be run by its model.

    It needs an encoder that runs alone, and an image processor that makes one picture of an image.
    """
    subject = whole.subject
    if isinstance(subject, StockSubject) and (
        subject.encoder.architecture is None or subject.family.tiles
    ):
        return None
    try:
        encoder = Encoder.of(whole.tower, -1, whole.name)
        to_pixels(whole.images)([Image.new("RGB", (64, 64))])
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        logger.info("The vision encoder is measured while its model runs it: %s", error)
        return None
    source = Once(_alone, (whole.source, settings)) if whole.source else None
    return Census(encoder, whole.images, settings, source)


def _alone(source: Once[LoadedModel], settings: Options) -> Census | None:
    return alone(source(), settings)


def _inside_of(source: Once[LoadedModel], settings: Options) -> InnerCensus:
    return inside(source(), settings)


def inside(whole: LoadedModel, settings: Options) -> InnerCensus:
    """The census of an encoder that only its model can run.

    Raises:
        UnsupportedModelError: options that need an encoder which runs alone.
    """
    asked = [name for name in ("layers", "size", "causes") if getattr(settings, name)]
    if asked or not isinstance(whole.subject, StockSubject):
        raise UnsupportedModelError(
            f"{' and '.join(asked) or 'Its encoder'}: the vision encoder of {whole.name} runs only "
            "inside its model, as the model prepares images: leave these options out."
        )
    source = Once(_inside_of, (whole.source, settings)) if whole.source else None
    return InnerCensus(whole.subject, whole.images, settings, source)


def _inside(
    inner: InnerCensus,
    name: str,
    images: Images,
    work: Path | None,
    engine: Engine | None,
    progress: bool,
) -> Card:
    """The encoder's part where only the model can run the encoder."""
    settings = inner.options
    about = inner.about(name, settings.dtype)
    file, begun = None, Totals()
    inputs = [about, settings.replicates, settings.seed]
    space = None if work is None else Workspace(work, "inspect", inputs)
    if space is not None:
        file = space.path / SUMS
        begun = Totals.load(file) if file.exists() else begun
    way = Pass(images, settings.limit, 1, settings.save_every, progress, engine)
    totals = way.run(begun, Totals, inner.measure, file, "encoder")
    everything = described(about, way.about(totals), settings)
    return make_card(totals, everything, list(range(len(inner.blocks) + 1)))


def _with_measured(
    card: Card,
    whole: LoadedModel,
    images: Images,
    asked: LanguageOptions,
    work: Path | None,
    engine: Engine | None,
    progress: bool,
) -> Card:
    try:
        part, replicates = measured_language(whole, card, images, asked, work, engine, progress)
    except UnsupportedModelError as error:
        logger.warning("The language part is left out: %s", error)
        return with_language(card, {"version": VERSION, "lacks": str(error)}, {})
    return with_language(card, part, replicates)
