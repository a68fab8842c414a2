"""The models that variants name, each loaded once for all variants that follow each other."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diysink.evaluation.benchmarks import Items
    from diysink.evaluation.lvlm import LVLM
    from diysink.evaluation.predict import AnsweringModel
    from diysink.model import AnswerGenerator
    from diysink.selection import CoTTemplates, Selection
    from diysink.sinks import SinkProfile, Statistics, Threshold
    from pipelines.evaluate.settings import Evaluate, Lvlm, Variant


class FineTuned:
    """The fine-tuned models of a run, under any selection; their images are encoded once.

    Args:
        finetuned_models: folder of all models.
        reweightings: folder of all trained selections; None: none was trained.
        sentence: folder or hub id of ReW's sentence encoder.
        evaluate: settings of the stage.
        seed: of random-matched tokens.
        simple: by digest, whether an image is simple, where it is known.
        device: where the models run.
    """

    def __init__(
        self,
        finetuned_models: Path,
        reweightings: Path | None,
        sentence: str,
        evaluate: "Evaluate",
        seed: int,
        simple: Mapping[str, bool],
        device: str,
    ) -> None:
        from diysink.evaluation.finetuned import EncodedImages

        self.models, self.reweightings, self.sentence = finetuned_models, reweightings, sentence
        self.evaluate, self.seed, self.simple, self.device = evaluate, seed, simple, device
        self.images = EncodedImages()
        self._loaded = lru_cache(maxsize=1)(self._load)

    def _load(self, unit: str) -> tuple["AnswerGenerator", str, "Threshold"]:
        from diysink.device import resolve_device
        from diysink.model import load

        generator = load(self.models / unit, device=str(resolve_device(self.device)))
        generator.max_new_tokens = self.evaluate.max_new_tokens
        return generator, generator.model.config.arrangement, generator.model.config.threshold

    def model(
        self,
        variant: "Variant",
        training: int,
        *,
        interference: float = 0.0,
        likelihoods: bool = True,
    ) -> "AnsweringModel":
        """The model of a variant and a training seed.

        Args:
            variant: says under which selection.
            training: seed.
            interference: share of nonsinks that are another image's.
            likelihoods: whether it is also measured how likely the right answers are.
        """
        from diysink.evaluation.finetuned import FineTunedModel
        from diysink.selection import WeightedSelection

        generator, arrangement, threshold = self._loaded(f"{variant.connector}/seed{training}")
        generator.model.config.arrangement = variant.arrangement or arrangement
        generator.model.config.tau = threshold.times(variant.tau).tau
        trained = self.reweightings and self.reweightings / variant.selection / f"seed{training}"
        generator.selection = select(
            variant.selection, generator, self.evaluate.cot, trained, self.sentence, training
        )
        if variant.is_weighted:
            weights = variant.weights
            generator.selection = WeightedSelection(
                generator.selection, weights.sink, weights.nonsink
            )
        return FineTunedModel(
            generator,
            self.images,
            random_matched=self.seed if variant.random_matched else None,
            interference=(interference, self.seed),
            simple=self.simple,
            likelihoods=likelihoods,
        )


class Models:
    """The models of variants, one at a time. Another process that gets it loads its own, once.

    Args:
        finetuned_models: folder of all models.
        reweightings: folder of all trained selections.
        sentence: folder or hub id of ReW's sentence encoder.
        lvlm: the vision-language model.
        evaluate: names the variants.
        seed: of what is drawn.
        device: where the models run.
        simple: by digest, whether an image is simple, where it is known.
    """

    def __init__(
        self,
        finetuned_models: Path,
        reweightings: Path,
        sentence: str,
        lvlm: "Lvlm",
        evaluate: "Evaluate",
        seed: int,
        device: str,
        simple: Mapping[str, bool] | None = None,
    ) -> None:
        from diysink.engine import Once

        self.lvlm, self.evaluate, self.seed, self.device = lvlm, evaluate, seed, device
        folders = finetuned_models.absolute(), reweightings.absolute(), sentence
        self._finetuned = FineTuned(*folders, evaluate, seed, simple or {}, device)
        self._trained = lru_cache(maxsize=1)(self._load)
        self._source = Once(Models, (*folders, lvlm, evaluate, seed, device, simple))

    def __reduce__(self) -> Any:
        from diysink.engine import made_there

        return made_there(self._source)

    @contextmanager
    def answering(self, variant: str, training: int, sinks: Path) -> Iterator["AnsweringModel"]:
        """The model of a variant, on its device; the last one stays loaded.

        Args:
            variant: its name.
            training: training seed.
            sinks: folder with the ``profile.json`` of the vision-language model.

        Raises:
            UnsupportedInterventionError: the change cannot be made to this model; also while it
                answers.
        """
        how = self.evaluate.variants.chosen[variant]
        if how.connector is not None:
            yield self._trained(variant, training)
            return
        limit = self.evaluate.max_new_tokens
        with lvlm_variant(self.lvlm, how, sinks, limit, self.seed, self.device) as model:
            yield model

    def _load(self, variant: str, training: int) -> "AnsweringModel":
        return self._finetuned.model(self.evaluate.variants.chosen[variant], training)


def select(
    name: str,
    generator: "AnswerGenerator",
    templates: "CoTTemplates",
    trained: Path | None,
    sentence: str,
    seed: int,
) -> "Selection":
    """The selection that a variant names.

    Args:
        name: one of `diysink.model.SELECTIONS`, or what was trained.
        generator: the model that is selected for.
        templates: CoT's two questions.
        trained: folder where a trained selection of this name would be; None: none was trained.
        sentence: folder or hub id of ReW's sentence encoder.
        seed: of random routes.

    Raises:
        ValueError: an unknown name.
    """
    from diysink.model.selections import SELECTIONS, SelectionContext
    from diysink.selection import load_selection

    model, chat_encoder = generator.model, generator.chat_encoder
    embeddings, tokenizer = model.get_input_embeddings(), chat_encoder.tokenizer
    if trained and (found := load_selection(trained, sentence, embeddings, tokenizer)):
        return found.to(model.device)
    if name not in SELECTIONS:
        raise ValueError(
            f"unknown selection {name!r}; expected one of reweight.selectors, or of "
            f"{', '.join(SELECTIONS)}"
        )
    return SELECTIONS[name](SelectionContext(model, chat_encoder, templates, seed))


@contextmanager
def lvlm_variant(
    lvlm: "Lvlm", variant: "Variant", sinks: Path, max_new_tokens: int, seed: int, device: str
) -> Iterator["AnsweringModel"]:
    """The LVLM, while a variant's change is made to its visual tokens.

    Args:
        lvlm: which model.
        variant: says what is done.
        sinks: folder with the model's ``profile.json``; not read for the stock model.
        max_new_tokens: length limit of an answer.
        seed: of what is drawn.
        device: where the model runs.

    Raises:
        UnsupportedInterventionError: the change cannot be made to this model; also while it
            answers.
    """
    from diysink.evaluation.lvlm_changed import changed
    from diysink.interventions.named import change_of
    from diysink.sinks import SinkProfile

    change = change_of(
        variant.change or "none",
        variant.options,
        seed=seed,
        random_matched=variant.random_matched,
    )
    profile = None if change is None else SinkProfile.load(sinks / "profile.json")
    with changed(loaded_lvlm(lvlm, max_new_tokens, device), change, profile) as model:
        yield model


def lvlm_norms(
    lvlm: "Lvlm", items: "Items", evaluate: "Evaluate", device: str
) -> "tuple[Statistics, SinkProfile]":
    """Norms of the LVLM's visual tokens, and which of them are sinks.

    Args:
        lvlm: which model, and how its sinks are calibrated.
        items: whose images are measured; no answers are looked at.
        evaluate: names the batch.
        device: where the model runs.

    Raises:
        NoThresholdError: the norms show no gap, and no tau was given.
    """
    from diysink.evaluation.lvlm_sinks import measure_sinks

    return measure_sinks(
        loaded_lvlm(lvlm, evaluate.max_new_tokens, device),
        items,
        tau=lvlm.tau,
        images=lvlm.images,
        calibration=lvlm.calibration,
        bootstrap=lvlm.bootstrap.model_dump(),
        batch=evaluate.batch,
    )


def loaded_lvlm(lvlm: "Lvlm", max_new_tokens: int, device: str) -> "LVLM":
    """The LVLM on its device; only the last one is kept, until `forget_lvlm`."""
    from diysink.device import resolve_device

    if lvlm.path is None:
        raise ValueError("lvlm.path is not given: --params lvlm.path=<folder or hub id>")
    if lvlm.path in _in_memory:
        return _in_memory[lvlm.path]
    resolved = str(resolve_device(device))
    return _lvlm(lvlm.path, lvlm.revision, lvlm.dtype, resolved, max_new_tokens)


_in_memory: dict[str, "LVLM"] = {}


@contextmanager
def in_memory(path: str, lvlm: "LVLM") -> Iterator[None]:
    """While this lasts, ``path`` is a model that is in memory already: a dry run's."""
    _in_memory[path] = lvlm
    try:
        yield
    finally:
        del _in_memory[path]


def forget_lvlm() -> None:
    """Free the device's memory for what comes next."""
    _lvlm.cache_clear()


@lru_cache(maxsize=1)
def _lvlm(path: str, revision: str | None, dtype: str, device: str, max_new_tokens: int) -> "LVLM":
    from diysink.device import DTYPES
    from diysink.evaluation.lvlm import load_lvlm

    return load_lvlm(
        path, revision, dtype=DTYPES[dtype], device=device, max_new_tokens=max_new_tokens
    )
