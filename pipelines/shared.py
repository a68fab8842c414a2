"""Settings that several stages share: the model's parts, and what every training has."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from diysink.encoders import ImageBackend
from diysink.training import FitSettings
from pipelines.schema import Devices, Dtype, Name, Settings, Share, Text


class Model(Settings):
    """The pretrained parts, ``model`` in the parameters.

    Attributes:
        encoder: folder or hub id.
        encoder_revision: of a hub id.
        layer: hidden states that the connector reads.
        language: folder or hub id.
        language_revision: of a hub id.
        chat_template: in Jinja, in place of the tokenizer's; base models have none.
        sentence: folder or hub id of ReW's sentence encoder.
        profile: which of the measured sink profiles says what a sink is.
        dtype: of the weights.
    """

    encoder: Text
    encoder_revision: Text | None = None
    layer: int = -2
    language: Text
    language_revision: Text | None = None
    chat_template: Text | None = None
    sentence: Text
    profile: Name
    dtype: Dtype = "float32"


class Ray(Settings):
    """``ray`` in the parameters: the cluster and its workers, as of `diysink.engine.RayEngine`."""

    address: Text | None
    num_cpus: PositiveFloat
    num_gpus: NonNegativeFloat
    max_retries: NonNegativeInt
    runtime_env: dict[str, Any]


@dataclass(frozen=True)
class Trainer(FitSettings):
    """Settings of Lightning's Trainer."""

    devices: Devices = 1


def _replicated(trainer: Trainer) -> Trainer:
    if trainer.strategy == "fsdp2":
        raise ValueError("another strategy: fsdp2 is for finetune, which trains all of a model")
    return trainer


Replicated = Annotated[Trainer, AfterValidator(_replicated)]
"""Settings of a stage that trains little: each device has all of the model."""


class Training(Settings):
    """What every training has.

    Attributes:
        split: of the records.
        batch_size: records of one micro-batch.
        learning_rate: the highest.
        warmup_ratio: share of the steps.
        weight_decay: of AdamW.
        betas: of AdamW.
        num_workers: loader processes.
        group_by_length: whether batches have dialogues of about one length.
        image_backend: what resizes images, ``pil`` or ``torch``.
        decode: ``exact``, or ``draft``: large JPEGs at a part of their size.
        max_length: tokens of a dialogue. None: what the language model takes.
        too_long: what is done with a longer one; see ``diysink.training.lengths``.
        trainer: for Lightning.
    """

    split: Name
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    warmup_ratio: Share
    weight_decay: NonNegativeFloat
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]
    num_workers: NonNegativeInt
    group_by_length: bool = False
    image_backend: ImageBackend = "pil"
    decode: Literal["exact", "draft"] = "exact"
    max_length: PositiveInt | None
    too_long: Literal["truncate", "quarantine"]
    trainer: Trainer


class StageTraining(Training):
    """What both stages of training have.

    Attributes:
        max_steps: optimizer steps.
        cache_size: encoded records kept in memory.
    """

    max_steps: PositiveInt
    cache_size: NonNegativeInt
