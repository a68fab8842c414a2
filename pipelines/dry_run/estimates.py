"""Parameters of every part, and the memory and hours that each stage would take."""

from collections.abc import Iterator
from typing import Any

from pipelines.dry_run.check import Check
from pipelines.dry_run.cost import (
    GB,
    Memory,
    answering_memory,
    forward_flops,
    hours,
    rounded,
    step_flops,
    training_memory,
)
from pipelines.dry_run.plan import Plan
from pipelines.dry_run.tokens import connector_tokens, connectors, lvlm_tokens, patches


def estimates(plan: Plan) -> Iterator[Check]:
    """Estimates of every part and stage whose shapes are known."""
    counts = {part: count_parameters(config, part) for part, config in plan.configs.items()}
    if counts:
        said = ", ".join(f"{part} {count / 1e6:,.1f}" for part, count in counts.items())
        yield Check("parameters, millions", "ok", said)
    if plan.trains and "adopt" not in plan.stages and {"encoder", "language"} <= counts.keys():
        yield from Trained(plan, counts).checks()
    if plan.answers_by_lvlm and "lvlm" in counts:
        text = plan.configs["lvlm"].get_text_config(decoder=True)
        evaluate = plan.evaluate
        visual = lvlm_tokens(plan.configs["lvlm"]) or 1024
        memory = answering_memory(
            counts["lvlm"],
            text,
            dtype=plan.lvlm.dtype,
            sequences=evaluate.batch,
            tokens=visual + plan.text_tokens + plan.new_tokens,
        )
        yield fits(plan, "evaluate memory", memory)


def fits(plan: Plan, what: str, memory: Memory) -> Check:
    """An estimate of memory beside that of the card."""
    card = plan.settings["estimate"]
    size = memory.total / GB
    remark = f"{rounded(size)} GB of {card.memory_gb:.0f} ({memory})"
    if size > card.memory_gb:
        remark = f"MORE than one {card.card} has: {remark}"
    return Check(what, "estimate", remark)


class Trained:
    """Estimates of the stages that train a vision encoder and a language model together."""

    def __init__(self, plan: Plan, counts: dict[str, int]) -> None:
        self.plan, self.counts = plan, counts
        self.encoder, self.text = plan.configs["encoder"], plan.configs["language"]
        self.visual = max(connector_tokens(plan).values())
        self.tokens = self.visual + plan.text_tokens
        self.connectors = {
            name: sum(weight.numel() for weight in made.parameters())
            for name, made in connectors(plan).items()
        }

    @property
    def whole(self) -> int:
        """Parameters of the model with the largest connector."""
        return self.counts["encoder"] + self.counts["language"] + max(self.connectors.values())

    def checks(self) -> Iterator[Check]:
        """Memory and hours of every stage of training, and the memory of answering."""
        plan, largest = self.plan, max(self.connectors.values())
        said = ", ".join(f"{name} {n / 1e6:.1f}" for name, n in self.connectors.items())
        yield Check("connectors, millions", "ok", said)
        finetune = plan.settings["finetune"]
        full = finetune.lora is None
        trained = largest + (self.counts["language"] if full else 0)
        for stage, number, weights in (("align", largest, False), ("finetune", trained, full)):
            if stage not in plan.stages:
                continue
            settings = plan.settings[stage]
            yield fits(plan, f"{stage} memory", self.memory(settings, number))
            trainings = len(self.connectors) * len(plan.settings["seeds"])
            flops = self.step(settings, weights)
            yield self.time(stage, flops, settings.max_steps, trainings)
        if "reweight" in plan.stages:
            settings = plan.settings["reweight"]
            yield fits(plan, "reweight memory", self.memory(settings, 0))
        if plan.answers and plan.evaluate.variants.trained:
            new = plan.new_tokens
            memory = answering_memory(
                self.whole,
                self.text,
                dtype=plan.model.dtype,
                sequences=plan.evaluate.batch,
                tokens=self.tokens + new,
            )
            yield fits(plan, "evaluate memory", memory)

    def memory(self, settings: Any, trained: int) -> Memory:
        """Of a training of a stage."""
        return training_memory(
            self.whole,
            trained,
            self.text,
            dtype=self.plan.model.dtype,
            precision=settings.trainer.precision,
            sequences=settings.batch_size,
            tokens=self.tokens,
            checkpointing=settings.trainer.gradient_checkpointing,
        )

    def step(self, settings: Any, weights_trained: bool) -> float:
        """Floating-point operations of an optimizer step of a stage.

        The dual connector's second view in stage 1 has few visual tokens and is not counted.
        """
        embedding = 0 if self.text.tie_word_embeddings else self.text.vocab_size
        used = self.counts["language"] - embedding * self.text.hidden_size
        language = forward_flops(used, self.text, self.tokens, causal=True)
        seen = forward_flops(
            self.counts["encoder"], self.encoder, patches(self.encoder), causal=False
        )
        sequences = settings.batch_size * settings.trainer.accumulate_grad_batches
        return seen * sequences + step_flops(
            language,
            weights_trained=weights_trained,
            checkpointing=settings.trainer.gradient_checkpointing,
            sequences=sequences,
        )

    def time(self, stage: str, flops: float, steps: int, trainings: int) -> Check:
        """Hours of a stage."""
        card = self.plan.settings["estimate"]
        each = hours(flops, steps, card.tflops, card.mfu)
        remark = (
            f"{rounded(each * trainings)} h on one {card.card}: {trainings} trainings of {steps} "
            f"steps, {rounded(flops / 1e15)} PFLOP each, {card.tflops:.0f} TFLOP/s at "
            f"{card.mfu:.0%} (assumed)"
        )
        return Check(f"{stage} time", "estimate", remark)


def count_parameters(config: Any, part: str) -> int:
    """Parameters of a part, counted without making it."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText

    from diysink.encoders.loading import let_auto_model_build

    auto = {"encoder": AutoModel, "language": AutoModelForCausalLM}.get(
        part, AutoModelForImageTextToText
    )
    let_auto_model_build(config)
    with torch.device("meta"):
        model = auto.from_config(config)
    return sum(weight.numel() for weight in model.parameters())
