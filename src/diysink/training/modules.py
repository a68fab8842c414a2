"""What each stage trains, as Lightning modules: the stages of arXiv 2510.08510, and LSG's.

- ``ConnectorTraining`` (stage 1): the connector alone. The dual connector's parts each learn by
  the language-modelling loss over their own tokens: a batch carries both views.
- ``LanguageTraining`` (stage 2): connector and language model, on all tokens.
- ``SelectionTraining``: what chooses, alone: R of ReW, or LSG's gates (arXiv 2604.03316).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from diysink.architectures import decoder_layers
from diysink.model import IGNORE, DIYSinkForConditionalGeneration, untouched
from diysink.selection import (
    Choice,
    OracleSelection,
    QuestionBatch,
    Route,
    TrainedSelection,
)
from diysink.training.strategies import gather, shard, skeleton

Views = Literal["own", "all", "answerable"]
"""What the two parts of a connector see in stage 1: see :class:`ConnectorTraining`."""


class StageTraining(lightning.LightningModule, ABC):
    """One stage: AdamW on the trained parameters, linear warm-up, then cosine to zero.

    The loss of an optimizer step is the mean over all tokens with a label, however they are split:
    over the micro-batches of `accumulate_grad_batches`, or over processes. A mean of their means
    would weigh tokens beside few others more. So each micro-batch's loss is weighted by its number
    of tokens, and the gradients are divided by that of the whole step before they are clipped.

    Args:
        model: the whole model; frozen except for what the stage trains.
        learning_rate: peak learning rate.
        max_steps: optimizer steps of the whole run.
        warmup_ratio: share of the steps spent warming up.
        weight_decay: AdamW's.
        betas: AdamW's.
        seed: seed of anything random in a step (dropout): a pure function of seed and step.

    Every trained parameter gets a gradient in every batch: zeros where the batch has nothing to
    teach it (the connector, where no dialogue has an image). So it is for one process, and for
    several, whose gradients are summed: a parameter without a gradient would be skipped by AdamW on
    one process, decay and moments included, and be waited for by several.

    Attributes:
        step_loss: of the last optimizer step, mean over its tokens.
        shardable: whether the model may be spread over processes (FSDP2).
    """

    shardable = False

    def __init__(
        self,
        model: DIYSinkForConditionalGeneration,
        *,
        learning_rate: float,
        max_steps: int,
        warmup_ratio: float = 0.03,
        weight_decay: float = 0.0,
        betas: Sequence[float] = (0.9, 0.999),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.max_steps, self.warmup_ratio = max_steps, warmup_ratio
        self.seed = seed
        self.betas = (betas[0], betas[1])
        self.micro_batches = 1  # of a step, in all processes together
        self._said = self._tokens = 0.0  # of the step so far: loss summed over tokens, and tokens
        self.step_loss = float("nan")
        self.model.requires_grad_(False).train()
        self.model.model.vision_tower.eval()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Make what is random in this step depend on seed, step and rank alone."""
        # batch_idx counts from the beginning of the run, also after resuming.
        torch.manual_seed((self.seed * 1_000_003 + batch_idx) * 1_009 + self.global_rank)

    @abstractmethod
    def batch_loss(self, batch: dict[str, Any]) -> Tensor:
        """Loss of one micro-batch, mean over its tokens."""

    def on_fit_start(self) -> None:
        """Ask how a step is split."""
        self.micro_batches = self.trainer.accumulate_grad_batches * self.trainer.world_size

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Loss of one micro-batch, weighted by its tokens where a step has several."""
        loss = self.batch_loss(batch)
        tokens = int((batch["labels"][:, 1:] != IGNORE).sum()) if self.micro_batches > 1 else 1
        self._said += tokens * float(loss.detach())
        self._tokens += tokens
        return loss if self.micro_batches == 1 else loss * tokens

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the tokens of the step; Lightning clips them after this."""
        summed = torch.tensor([self._said, self._tokens], dtype=torch.float32, device=self.device)
        said, tokens = self.trainer.strategy.reduce(summed, reduce_op="sum").tolist()
        self._said = self._tokens = 0.0
        if self.micro_batches == 1:
            self.step_loss = said
            return
        self.step_loss = said / max(tokens, 1)
        for parameter in self.parameters():
            if parameter.grad is not None:  # Lightning has taken the mean over micro-batches
                parameter.grad.mul_(self.micro_batches / max(tokens, 1))

    def gather(self) -> None:
        """Make the model whole again on rank 0, where it was spread over processes."""

    def configure_optimizers(self) -> Any:
        """AdamW over the trained parameters, and the schedule."""
        trained = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(
            trained,
            lr=self.learning_rate,
            betas=self.betas,
            weight_decay=self.weight_decay,
        )
        # Not transformers' schedule, which starts at 0: its first step would change nothing.
        warm = max(1, round(self.warmup_ratio * self.max_steps))

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            done = (step - warm) / max(1, self.max_steps - warm)
            return 0.5 * (1 + float(torch.cos(torch.tensor(min(done, 1.0) * torch.pi))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save only what is trained: the frozen parts are the same files as at the start."""
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        checkpoint["state_dict"] = {
            name: tensor for name, tensor in checkpoint["state_dict"].items() if name in trained
        }

    @property
    def strict_loading(self) -> bool:
        """Frozen parameters are not in the checkpoint."""
        return False

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the loss over all tokens, which Lightning averages over answers' tokens."""
        tokens = int((batch["labels"][:, 1:] != IGNORE).sum())
        if tokens:
            self.log("validation_loss", self.loss(batch), batch_size=tokens)

    def loss(self, batch: dict[str, Any], choice: Choice | None = None) -> Tensor:
        """Next-token loss of a batch under a choice; 0 where no token has a label.

        A batch without labels has no mean: its loss is 0, with gradients of 0, and not NaN.
        """
        has_labels = bool((batch["labels"][:, 1:] != IGNORE).any())
        output = self.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            pixel_values=batch["pixel_values"],
            labels=batch["labels"] if has_labels else None,
            choice=choice,
            use_cache=False,  # of keys and values: nothing is generated from them
        )
        loss: Tensor = output.loss if has_labels else output.logits.float().sum() * 0.0
        return loss


class ConnectorTraining(StageTraining):
    """Stage 1: only the connector is trained.

    Connectors of one part see all tokens, as LLaVA's does. Those of two parts:

    - ``own`` (the paper's): the loss is the mean of two, sinks only through f_sink and nonsinks
      only through f_nonsink. Either part is asked everything, also what its tokens cannot answer.
    - ``all``: one loss over all tokens, as for a connector of one part.
    - ``answerable`` (ours): each record goes to the part that its group needs: global to f_sink,
      local to f_nonsink; mixed ones, and those without a group, go to both, over all tokens.

    An image without sinks has no sink view: it falls back to nonsinks, which teaches the dual MLPs'
    f_sink nothing (a dual resampler's sink queries read the whole image then).

    Args:
        model: the whole model.
        views: of a connector of two parts.
        options: see :class:`StageTraining`.
    """

    def __init__(
        self, model: DIYSinkForConditionalGeneration, views: Views = "own", **options: Any
    ) -> None:
        super().__init__(model, **options)
        self.views = views if model.model.multi_modal_projector.two_parts else "all"
        model.model.multi_modal_projector.requires_grad_(True)

    def batch_loss(self, batch: dict[str, Any]) -> Tensor:
        """Loss of the views of one batch."""
        items = len(batch["input_ids"])
        match self.views:
            case "all":
                return self.loss(batch)
            case "answerable":
                nothing = ("",) * items
                asked = QuestionBatch(batch["questions"], nothing, batch["groups"], nothing)
                return self.loss(batch, OracleSelection()(asked))
            case _:
                views = [Choice.of([route] * items) for route in (Route.SINK, Route.NONSINK)]
                return torch.stack([self.loss(batch, view) for view in views]).mean()


class LanguageTraining(StageTraining):
    """Stage 2: connector and language model are trained on all tokens, the encoder is frozen.

    Args:
        model: the whole model.
        lora: arguments of ``peft.LoraConfig`` for the language model; None = all its parameters.
        options: see :class:`StageTraining`.
    """

    shardable = True

    def __init__(
        self,
        model: DIYSinkForConditionalGeneration,
        lora: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self._whole: list[DIYSinkForConditionalGeneration] = []  # no module of this one's
        self.lora = lora
        language = model.model.language_model
        if lora is None:
            language.requires_grad_(True)
            model.lm_head.requires_grad_(True)
        else:
            from peft import LoraConfig, inject_adapter_in_model

            inject_adapter_in_model(LoraConfig(**lora), language)
        model.model.multi_modal_projector.requires_grad_(True)

    def batch_loss(self, batch: dict[str, Any]) -> Tensor:
        """Loss of one batch."""
        return self.loss(batch)

    def configure_model(self) -> None:
        """Spread the model over the processes, where the strategy is FSDP2."""
        if not self._whole and isinstance(self.trainer.strategy, ModelParallelStrategy):
            self._whole.append(skeleton(self.model))
            layers = decoder_layers(self.model.model.language_model)
            shard(self.model, layers, self.device_mesh["data_parallel"])

    def gather(self) -> None:
        """Put a whole model, on the CPU of rank 0, in the place of this process's part."""
        if self._whole:
            gather(self.model, self._whole[0])
            self.model = self._whole.pop()
            self.model.tie_weights()

    def merged(self) -> DIYSinkForConditionalGeneration:
        """The trained model, LoRA folded into its weights so that it saves as an ordinary one."""
        if self.lora is not None:
            fold_adapters(self.model.model.language_model)
        return self.model


class SelectionTraining(StageTraining):
    """A selection that is trained through the frozen model: R of ReW, or LSG's gates.

    The model computes as when it answers, without dropout. The selection is trained for the point
    where its weights are applied.

    Args:
        model: the whole model.
        selection: what is trained, in part or whole.
        options: see :class:`StageTraining`.
    """

    def __init__(
        self,
        model: DIYSinkForConditionalGeneration,
        selection: TrainedSelection,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        self.selection = selection
        self.model.eval()
        selection.requires_grad_(False)
        selection.trained.requires_grad_(True)

    def on_train_start(self) -> None:
        """Layers are checkpointed only if they are "training"; the dropout in them must not be."""
        for layer in self.model.model.language_model.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.training = layer.gradient_checkpointing

    def batch_loss(self, batch: dict[str, Any]) -> Tensor:
        """Loss of one batch under what the selection chooses."""
        texts = batch["questions"]
        nothing = ("",) * len(texts)
        questions = QuestionBatch(texts, nothing, (None,) * len(texts), nothing)
        loss = self.loss(batch, self.selection(questions))
        if batch["pixel_values"] is None:  # there was nothing to weigh
            loss = loss + untouched(self.selection.trained)
        return loss


def fold_adapters(module: torch.nn.Module) -> None:
    """Replace every LoRA layer inside ``module`` by its plain layer with the update added."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, child in list(module.named_children()):
        if isinstance(child, BaseTunerLayer):
            child.merge()
            setattr(module, name, child.get_base_layer())
        else:
            fold_adapters(child)
