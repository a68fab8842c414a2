"""The language part, measured over all images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.stock import StockSubject
from diysink.architectures import UnsupportedModelError, recurrent_layers
from diysink.artifact import Workspace
from diysink.census import Card, Images, LeftOut, Options, read_images
from diysink.census.passes import Batch, Pass
from diysink.census.run import SUMS
from diysink.engine import Engine, Once, made_there
from diysink.inspection.answers import TOKENS, answers_without
from diysink.inspection.flow import Flow
from diysink.inspection.language import language_part
from diysink.inspection.loading import LoadedModel
from diysink.inspection.sums import Sums, Values
from diysink.interventions.reading import blocks_read
from diysink.records import ImageFile
from diysink.sinks import Threshold
from diysink.sinks.profile import POPULATION

QUESTION = "Describe the image."
TOGETHER = 4096  # tokens of all prompts that a language model reads at once: about one large image


@dataclass(frozen=True)
class LanguageOptions:
    """What is asked of a model.

    Attributes:
        question: about each image.
        answers: whether answers are generated.
        tau: from which norm a visual token is a V-sink; None: what the encoder's part says.
        options: of the census.
    """

    question: str
    answers: bool
    tau: float | None
    options: Options


class LanguageReader:
    """Shows images to a model and sums up what is measured.

    Args:
        whole: the model.
        threshold: from which norm a visual token is a V-sink; None: see `Flow`.
        asked: what is asked.
    """

    def __init__(
        self, whole: LoadedModel, threshold: Threshold | None, asked: LanguageOptions
    ) -> None:
        self.whole, self.threshold, self.asked = whole, threshold, asked
        self.flow = Flow(whole.subject, whole.decoder, threshold, seed=asked.options.seed)
        source = whole.source
        self.source = source and Once(_reader_of, (source, threshold, asked))

    def __reduce__(self) -> Any:
        return made_there(self.source)

    def measure(self, batch: Batch[Sums]) -> Sums:
        """The sums of a batch."""
        with self.asked.options.in_threads():
            self._add(batch.sums, batch.images)
        return batch.sums

    def _add(self, sums: Sums, images: Sequence[ImageFile]) -> None:
        flow, asked = self.flow, self.asked
        try:
            shown = flow.show(images)
        except UnsupportedModelError:
            if len(images) == 1:
                raise
            for image in images:  # of several sizes
                self._add(sums, [image])
            return
        singles = flow.connector(shown)
        if asked.answers:  # one image at a time
            whole, seed = self.whole, asked.options.seed
            singles[0] |= answers_without(
                whole.subject, shown, asked.question, whole.width, flow.rule, seed
            )
        layers = flow.layerwise(shown, [asked.question] * len(images))
        for image, layer, single in zip(images, layers, singles, strict=True):
            sums.add(
                image.sha256,
                {f"layer/{name}": value for name, value in layer.items()}
                | {f"whole/{name}": value for name, value in single.items()},
            )


def _reader_of(
    source: Once[LoadedModel], threshold: Threshold | None, asked: LanguageOptions
) -> LanguageReader:
    return LanguageReader(source(), threshold, asked)


def measured_language(
    whole: LoadedModel,
    card: Card,
    images: Images,
    asked: LanguageOptions,
    work: Path | None,
    engine: Engine | None,
    progress: bool,
) -> tuple[dict[str, Any], dict[str, Values]]:
    """The language part of a card, and its replicates.

    Args:
        whole: the model.
        card: of its vision encoder.
        images: those of the card.
        asked: what is asked.
        work: folder for the sums on the way; None: nothing is kept.
        engine: where images are shown to the model; None: in this process.
        progress: whether a bar is shown.

    Raises:
        UnsupportedModelError: a language model that shows no attention.
    """
    config = whole.decoder.config
    if config._attn_implementation not in ("eager", "sdpa"):
        raise UnsupportedModelError(
            f"the language model attends with {config._attn_implementation!r}, whose masks cannot "
            "be read: load it with attn_implementation='sdpa'"
        )
    threshold, about = threshold_of(whole, card, asked.tau)
    options = asked.options
    reader = LanguageReader(whole, threshold, asked)

    def fresh() -> Sums:
        return Sums(options.replicates, options.seed)

    facts = {
        "model": {
            "name": whole.name,
            "family": whole.kind,
            "layers": len(reader.flow.layers),
            "heads": int(config.num_attention_heads),
            "width": whole.width,
        },
        "question": asked.question,
        "answer_tokens": TOKENS if asked.answers else None,
        "threshold": about,
    }
    begun, file = fresh(), None
    inputs = [facts, card.digest]
    space = None if work is None else Workspace(work, "inspect-language", inputs)
    if space is not None:
        file = space.path / SUMS
        begun = Sums.load(file) if file.exists() else begun
    together = 1 if asked.answers else at_a_time(whole, reader.flow, images, asked)
    way = Pass(images, options.limit, together, options.save_every, progress, engine)
    sums = way.run(begun, fresh, reader.measure, file, "language")
    counted = {"count": sums.count, "digest": sums.chain}
    return language_part(sums.part("layer/"), sums.part("whole/"), facts | {"images": counted})


def at_a_time(whole: LoadedModel, flow: Flow, images: Images, asked: LanguageOptions) -> int:
    """How many images the language model reads at once: by how long the first one's prompt is.

    One where padding could change a number: where the prompts of images of one number of visual
    tokens have other tokens between them (tiles), and where a language model has layers that do not
    attend, and so read what is before a prompt.
    """
    subject = whole.subject
    if isinstance(subject, StockSubject) and (subject.family.tiles or not subject.family.attends):
        return 1
    first = next((one[1] for one in read_images(images, 1) if not isinstance(one, LeftOut)), None)
    if first is None or recurrent_layers(whole.decoder):
        return 1
    prompts = subject.prompts(flow.show([first]).encoded, [asked.question])
    return max(1, min(asked.options.batch_size, TOGETHER // prompts.mask.shape[1]))


def threshold_of(
    whole: LoadedModel, card: Card, tau: float | None
) -> tuple[Threshold | None, Mapping[str, Any]]:
    """From which norm a visual token is a V-sink, and where that is from.

    Args:
        whole: the model.
        card: of its vision encoder.
        tau: if it is known.
    """
    subject = whole.subject
    layer = subject.layer
    if tau is not None:
        return Threshold(tau), _about(tau, layer, f"norms of at least {tau:.4g}, as given")
    if isinstance(subject, DIYSinkSubject):
        own = subject.threshold
        return own, _about(own.tau, layer, f"{own}, the model's own")
    found = next((one for one in card.plain["layers"] if one["layer"] == layer), None)
    several = len(blocks_read(subject.inner, subject.family, {})[1]) > 1
    if several or found is None:
        why = "the connector reads several layers" if several else f"layer {layer} was not measured"
    elif (cell := found["metrics"]["tau"]) is None:
        why = f"norms at layer {layer} do not part into two groups"
    else:
        passed = {one["question"]: one["passed"] for one in found["threshold"]["evidence"]}
        failed = [name for name in POPULATION if not passed.get(name, True)]
        doubt = f" (not credible: {', '.join(failed)})" if failed else ""
        value = float(cell["value"])
        says = f"norms of at least {value:.4g}, tau of layer {layer}{doubt}"
        return Threshold(value), _about(value, layer, says)
    return None, _about(None, layer, f"the 1 % of largest norm of each image, since {why}")


def _about(tau: float | None, layer: int, says: str) -> dict[str, Any]:
    return {"tau": tau, "layer": layer, "says": says}
