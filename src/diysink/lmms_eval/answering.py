"""From lmms-eval's ``--model_args`` to a model: stock, changed, or under a selection."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from diysink.device import DTYPES, resolve_device
from diysink.encoders import checkpoint_source, model_type_of
from diysink.evaluation.finetuned import EncodedImages, FineTunedModel
from diysink.evaluation.lvlm import LVLM, load_lvlm
from diysink.evaluation.lvlm_changed import changed
from diysink.evaluation.predict import AnsweringModel
from diysink.interventions.named import change_of
from diysink.model import load
from diysink.model.selections import selections_of
from diysink.selection import Selection
from diysink.sinks import SinkProfile

SELECTIONS = ("both", "sink", "nonsink", "cot", "cot-sinks", "cot-soft", "random")
"""Those that need to know nothing of a question but itself."""


@dataclass(frozen=True)
class Answering:
    """A model, and what can be set on it.

    Attributes:
        model: answers records, as for any evaluation of ours.
        loaded: the same without what is done to its visual tokens.
    """

    model: AnsweringModel
    loaded: LVLM | FineTunedModel

    @property
    def tokenizer(self) -> Any:
        """Of the language model."""
        if isinstance(self.loaded, LVLM):
            return self.loaded.processor.tokenizer
        return self.loaded.generator.chat_encoder.tokenizer

    def set(self, *, max_new_tokens: int, likelihoods: bool) -> None:
        """How long answers may be, and whether likelihoods are measured."""
        self.loaded.likelihoods = likelihoods
        if isinstance(self.loaded, LVLM):
            self.loaded.generation.max_new_tokens = max_new_tokens
        else:
            self.loaded.generator.max_new_tokens = max_new_tokens


@contextmanager
def answering(
    pretrained: str,
    *,
    revision: str | None = None,
    selection: str | None = None,
    intervention: str = "none",
    options: Mapping[str, Any] | None = None,
    random_matched: bool = False,
    profile: str | None = None,
    tau: float | None = None,
    seed: int = 0,
    dtype: str = "bfloat16",
    device: str = "auto",
) -> Iterator[Answering]:
    """A model while something is done to its visual tokens, or nothing.

    Args:
        pretrained: folder or hub id of a vision-language model; of a DIYSink model that is not
            changed, a folder.
        revision: of a hub id.
        selection: one of `SELECTIONS`, for a DIYSink model; None: the trained one that its folder
            holds, or both.
        intervention: ``none``, or a key of `diysink.interventions.named.CHANGES`.
        options: of the intervention; lists may be JSON.
        random_matched: whether it is done to as many random patches as there are sinks.
        profile: path of the sink profile; a DIYSink model brings its own tau.
        tau: in place of a profile, the L2 norm from which a token is a sink.
        seed: of what is drawn.
        dtype: of the weights.
        device: where the model runs.

    Raises:
        ValueError: arguments that do not exist or do not fit together.
        UnsupportedInterventionError: the change cannot be made to this model; also while it
            answers.
    """
    change = change_of(
        intervention, _parsed(options or {}), seed=seed, random_matched=random_matched
    )
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; expected {' or '.join(DTYPES)}")
    if change is None and (profile is not None or tau is not None):
        raise ValueError(
            "profile or tau is given, but no intervention: a stock model knows no sinks. Give "
            "intervention=reposition,where=front, or leave them out."
        )
    where = resolve_device(device)
    ours = model_type_of(checkpoint_source(pretrained, revision), revision) == "diysink"
    if selection is not None and (change is not None or not ours):
        raise ValueError(
            f"selection is {selection!r}, but {pretrained} "
            + ("is changed by an intervention" if ours else "is no DIYSink model")
            + "; a selection is of a DIYSink model alone"
        )
    if ours and change is None:
        generator = load(pretrained, device=str(where))
        generator.model.to(DTYPES[dtype])
        if selection is not None:
            generator.selection = _selection(selection, generator, seed)
        model = FineTunedModel(generator, EncodedImages(limit=0))
        yield Answering(model, model)
        return
    lvlm = load_lvlm(pretrained, revision, dtype=DTYPES[dtype], device=where)
    known = None if profile is None else SinkProfile.load(profile)
    with changed(lvlm, change, known, tau) as moved:
        yield Answering(moved, lvlm)


def _selection(name: str, generator: Any, seed: int) -> Selection:
    if name not in SELECTIONS:
        raise ValueError(
            f"selection is {name!r}; expected {', '.join(SELECTIONS)}. Controls that know the "
            "right route need items with a group, which tasks of lmms-eval do not have."
        )
    return selections_of(generator.model, generator.chat_encoder, seed=seed)[name]


def _parsed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options from a command line, in which a list is a text."""
    return {
        name: tuple(json.loads(value))
        if isinstance(value, str) and value.startswith("[")
        else value
        for name, value in options.items()
    }
