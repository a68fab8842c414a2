"""A vision-language model, ready to be measured: from a folder, a hub id or memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from diysink.analysis.diysink_subject import DIYSinkSubject
from diysink.analysis.stock import StockSubject
from diysink.architectures import LVLMS
from diysink.artifact import BrokenFileError
from diysink.encoders import (
    CheckpointError,
    checkpoint_source,
    model_type_of,
    stock_image_processor,
)
from diysink.engine import Once, made_there
from diysink.evaluation.lvlm import LVLM, load_lvlm
from diysink.model.generation import load


@dataclass(frozen=True)
class LoadedModel:
    """A model behind its own processor.

    Attributes:
        subject: the model as analyses see it.
        name: what people call it.
        kind: its ``model_type``.
        images: an image processor of transformers; None: not known.
        source: loads it in another process; None: it is in memory alone.
    """

    subject: StockSubject | DIYSinkSubject
    name: str
    kind: str
    images: Any
    source: Once[Any] | None = None

    def __reduce__(self) -> Any:
        return made_there(self.source)

    @property
    def model(self) -> Any:
        """The whole model."""
        if isinstance(self.subject, DIYSinkSubject):
            return self.subject.model
        return self.subject.lvlm.model

    @property
    def tower(self) -> Any:
        """Its vision encoder."""
        if isinstance(self.subject, DIYSinkSubject):
            return self.subject.model.model.vision_tower
        return self.subject.tower

    @property
    def decoder(self) -> Any:
        """Its language model."""
        if isinstance(self.subject, DIYSinkSubject):
            return self.subject.model.model.language_model
        return self.subject.inner.get_decoder()

    @property
    def width(self) -> int:
        """Of the language model."""
        return int(self.decoder.config.hidden_size)


@dataclass(frozen=True)
class NotLoaded:
    """Why a vision-language model cannot be asked anything, in one line."""

    reason: str


def kind_of(model: Any, revision: str | None) -> str:
    """The ``model_type`` of a folder, a hub id or a model in memory."""
    if isinstance(model, str | Path):
        return model_type_of(checkpoint_source(model, revision), revision)
    return str(model.config.model_type)


def load_model(
    model: Any, revision: str | None, processor: Any, dtype: torch.dtype, device: torch.device
) -> LoadedModel | NotLoaded | None:
    """A vision-language model with its processor; None: it is no such model.

    Args:
        model: a folder, a hub id, or a model of transformers in memory, which stays where it is.
        revision: of a hub id.
        processor: of a model in memory: its own, with tokenizer and chat template.
        dtype: of the weights that are read.
        device: where they go.

    Raises:
        CheckpointError: not a checkpoint that can be read.
        BrokenFileError: a damaged file.
        ValueError: a model in memory without its processor.
    """
    kind = kind_of(model, revision)
    if kind not in LVLMS:
        return None
    if not isinstance(model, str | Path):
        return _in_memory(model, kind, processor)
    name = Path(model).resolve().name if Path(model).is_dir() else str(model)
    source = None
    if processor is None:
        source = Once(load_model, (str(model), revision, None, dtype, device))
    try:
        if kind == "diysink":
            generator = load(model, device=str(device))
            generator.model.to(dtype)
            images = stock_image_processor(model, revision)
            return LoadedModel(DIYSinkSubject(generator), name, kind, images, source)
        lvlm = load_lvlm(model, revision, dtype=dtype, device=device)
    except (CheckpointError, BrokenFileError):
        raise
    except (ValueError, OSError, ImportError) as error:  # no processor, no chat template, ...
        return NotLoaded(str(error))
    images = getattr(lvlm.processor, "image_processor", None)
    return LoadedModel(StockSubject(lvlm, tau=float("inf")), name, kind, images, source)


def _in_memory(model: Any, kind: str, processor: Any) -> LoadedModel | NotLoaded:
    if getattr(processor, "tokenizer", None) is None:
        raise ValueError(
            f"A {kind} in memory is asked through its own processor: give processor=, with its "
            "tokenizer and chat template. For the vision encoder alone, give the vision encoder."
        )
    if kind == "diysink":
        return NotLoaded("a DIYSink model in memory has no prompts: save it and give the folder")
    name = Path(str(model.config.name_or_path)).name or type(model).__name__
    lvlm = LVLM(model.eval(), processor)
    images = getattr(processor, "image_processor", None)
    return LoadedModel(StockSubject(lvlm, tau=float("inf")), name, kind, images)
