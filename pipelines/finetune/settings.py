"""Settings of stage 2; each is explained in ``conf/base/parameters_finetune.yml``."""

from dataclasses import fields
from typing import Any, Self

from pydantic import model_validator

from pipelines.problems import ContradictionError, Problem, nearest
from pipelines.shared import StageTraining


class Finetune(StageTraining):
    """How connector and language model are trained. ``lora``: arguments of peft.LoraConfig."""

    lora: dict[str, Any] | None

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
