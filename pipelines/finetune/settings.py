"""Settings of stage 2; each is explained in ``conf/base/parameters_finetune.yml``."""

from typing import Any

from pipelines.shared import StageTraining


class Finetune(StageTraining):
    """How connector and language model are trained. ``lora``: arguments of peft.LoraConfig."""

    lora: dict[str, Any] | None
