"""Settings of stage 2; each is explained in ``conf/base/parameters_finetune.yml``."""

from dataclasses import fields
from typing import Any, Self

from pydantic import NonNegativeInt, PositiveFloat, model_validator

from pipelines.problems import ContradictionError, Problem, nearest
from pipelines.schema import Name, Settings
from pipelines.shared import StageTraining


class Validation(Settings):
    """What every trained model is looked at with.

    Attributes:
        split: of records that are not trained on.
        max_loss: nats per token of an answer; above it a training has not converged. None: any.
    """

    split: Name
    max_loss: PositiveFloat | None = None


class Finetune(StageTraining):
    """How connector and language model are trained.

    Attributes:
        max_steps: optimizer steps; 0: the language model stays as it is.
        lora: arguments of peft.LoraConfig; None: all of the language model is trained.
        validation: None: nothing is looked at.
    """

    max_steps: NonNegativeInt
    lora: dict[str, Any] | None
    validation: Validation | None

    @model_validator(mode="after")
    def _lora_options(self) -> Self:
        if self.lora is None:
            return self
        from peft import LoraConfig

        known = [field.name for field in fields(LoraConfig)]
        problems = [
            Problem(f"lora.{name}", "an unknown key", nearest(name, known))
            for name in self.lora
            if name not in known
        ]
        if problems:
            raise ContradictionError(problems)
        return self
