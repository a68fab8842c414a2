"""Stage 2 on random weights: the project's own training, with the settings of its preset.

Dialogues have all visual tokens of one image and about 128 tokens of text, without padding. A step
has at most four micro-batches: the optimizer's share of it is somewhat larger than in the preset.
"""

import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from benchmarks.answer import random_model, words
from benchmarks.card.flops import stage_2_flops
from benchmarks.card.variants import attention, attentions, compile_decoder
from benchmarks.evaluation import questions
from diysink.model import ChatEncoder
from diysink.records import Records, write_shards
from diysink.training import EncodedRecords, LanguageTraining, RecordsDataModule, fit
from pipelines.dry_run.cost import GB, Memory, training_memory
from pipelines.finetune.settings import Finetune
from pipelines.settings import CONFIG_LOADER_ARGS, CONFIG_LOADER_CLASS, PROJECT
from pipelines.training import optimization

TEXT, MICRO_BATCHES, WARM_UP = 128, 4, 2
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how the weights are kept.

    Attributes:
        preset: whose stage 2 it is.
        rank: of LoRA, whose alpha is twice that (LLaVA's are 128 and 256); None: in full.
        dtype: of the weights: bf16 for those that LoRA leaves as they are.
        precision: of Lightning's trainer.
        batch_size: of a micro-batch; None: the preset's.
    """

    preset: str
    rank: int | None
    dtype: torch.dtype
    precision: str
    batch_size: int | None = None

    @property
    def lora(self) -> dict[str, Any] | None:
        """Arguments of ``peft.LoraConfig``."""
        if self.rank is None:
            return None
        modules = {"target_modules": list(PROJECTIONS)}
        return {"r": self.rank, "lora_alpha": 2 * self.rank} | modules


RECIPES: dict[str, dict[str, Recipe]] = {
    "7b": {"LoRA": Recipe("llava-1.5-7b", 128, torch.bfloat16, "bf16-true")},
    "0.5b": {"in full": Recipe("tinyllava-0.5b", None, torch.float32, "bf16-mixed")},
    "tiny": {
        "LoRA": Recipe("llava-1.5-7b", 8, torch.float32, "32-true", batch_size=2),
        "in full": Recipe("llava-1.5-7b", None, torch.float32, "32-true", batch_size=2),
    },
}


@dataclass(frozen=True)
class Case:
    """One way of running it; ``attention`` as in :mod:`benchmarks.card.variants`."""

    checkpointing: bool = True
    compiled: bool = False
    attention: str | None = None

    def __str__(self) -> str:
        said = ["checkpointing" if self.checkpointing else "no checkpointing"]
        said += ["compiled"] if self.compiled else []
        return ", ".join(said + ([self.attention] if self.attention else []))


def cases() -> list[Case]:
    """The preset's first; then one change, or two, at a time."""
    found = [Case(), Case(checkpointing=False), Case(compiled=True), Case(False, True)]
    return found + [Case(attention=kind) for kind in attentions()]


@cache
def parameters_of(preset: str) -> dict[str, Any]:
    """A preset's parameters."""
    loader = CONFIG_LOADER_CLASS(str(PROJECT / "conf"), env=preset, **CONFIG_LOADER_ARGS)
    return dict(loader["parameters"])


@dataclass(frozen=True)
class Noise:
    """Random pixels in place of an image processor's; the images were decoded all the same."""

    side: int

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.randn(len(images), 3, self.side, self.side)


def dialogues(folder: Path, model: Any, number: int) -> EncodedRecords:
    """Dialogues about random images, as records in a folder."""
    half = TEXT // 2
    asked = questions(number, words=half, answer=" ".join(["w3"] * half))
    write_shards(folder, asked)
    chat_encoder = ChatEncoder(words(400), model.config.image_seq_length)
    noise = Noise(model.config.vision_config.image_size)
    return EncodedRecords(Records(folder), chat_encoder, noise, cache_size=number)


def trained(
    recipe: Recipe, case: Case, shapes: Mapping[str, Any], device: str, steps: int
) -> dict[str, Any]:
    """Seconds of an optimizer step, its tokens and operations, and the highest memory."""
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    model = random_model(shapes, device, recipe.dtype)
    settings = Finetune.model_validate(parameters_of(recipe.preset)["finetune"])
    batch = recipe.batch_size or settings.batch_size
    micro_batches = min(MICRO_BATCHES, settings.trainer.accumulate_grad_batches)
    total = steps + WARM_UP
    training = LanguageTraining(model, recipe.lora, **optimization(settings, 0, total))
    if case.compiled:
        compile_decoder(model)
    trainer = replace(
        settings.trainer,
        accelerator="gpu" if cuda else "cpu",
        precision=recipe.precision,
        accumulate_grad_batches=micro_batches,
        gradient_checkpointing=case.checkpointing,
        every_n_train_steps=total + 1,  # no checkpoint is written
        enable_progress_bar=False,
    )
    ends: list[float] = []

    def ended(row: dict[str, Any]) -> None:
        if cuda:
            torch.cuda.synchronize()
        ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, attention(model, case.attention):
        data = dialogues(Path(folder, "records"), model, 4 * batch)
        batches = RecordsDataModule(
            data,
            batch_size=batch,
            num_batches=total * micro_batches,
            seed=0,
            num_workers=settings.num_workers if cuda else 0,
        )
        tokens = len(data[0]["input_ids"])
        fit(training, batches, trainer, Path(folder, "fit"), ended)
    steps_seconds = [later - earlier for earlier, later in itertools.pairwise(ends)]
    seconds = statistics.median(steps_seconds[WARM_UP - 1 :])
    sequences, full = batch * micro_batches, recipe.lora is None
    counted = {"sequences": sequences, "weights_trained": full}
    model_flops = stage_2_flops(model, tokens, checkpointing=False, **counted)
    all_flops = stage_2_flops(model, tokens, checkpointing=case.checkpointing, **counted)
    return {
        "seconds": seconds,
        "tokens_per_second": sequences * tokens / seconds,
        "tokens": tokens,
        "micro_batch": batch,
        "sequences": sequences,
        "model_tflop": model_flops / 1e12,
        "hardware_tflop": all_flops / 1e12,
        "estimated_gb": estimate(model, recipe, case, batch, tokens).total / GB,
        "peak_gb": torch.cuda.max_memory_allocated() / GB if cuda else None,
        "dtype": str(recipe.dtype).removeprefix("torch."),
        "precision": recipe.precision,
        "steps": steps,
    }


def estimate(model: Any, recipe: Recipe, case: Case, sequences: int, tokens: int) -> Memory:
    """The memory that a dry run would say."""
    return training_memory(
        sum(p.numel() for p in model.parameters()),
        sum(p.numel() for p in model.parameters() if p.requires_grad),
        model.config.text_config,
        dtype=str(recipe.dtype).removeprefix("torch."),
        precision=recipe.precision,
        sequences=sequences,
        tokens=tokens,
        checkpointing=case.checkpointing,
    )


def utilisation(result: Mapping[str, Any], peak_tflops: float | None) -> dict[str, float]:
    """MFU and HFU of what was measured; nothing where the card's peak is not known."""
    if peak_tflops is None:
        return {}
    possible = result["seconds"] * peak_tflops
    return {"mfu": result["model_tflop"] / possible, "hfu": result["hardware_tflop"] / possible}
