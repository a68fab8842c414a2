"""A frozen sentence encoder: the question as one vector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from diysink.encoders import quiet_loading


class SentenceEncoder(nn.Module):
    """Mean of a transformer's last hidden states over a text's tokens, scaled to length one.

    Args:
        model: any transformers encoder whose output has ``last_hidden_state``.
        tokenizer: its tokenizer.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, path: Path | str) -> "SentenceEncoder":
        """From a folder or hub id (safetensors only, no remote code)."""
        from transformers import AutoModel, AutoTokenizer

        with quiet_loading():
            model = AutoModel.from_pretrained(path, use_safetensors=True, trust_remote_code=False)
        return cls(model, AutoTokenizer.from_pretrained(path, trust_remote_code=False))

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.model.config.hidden_size)

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "batch dim"]:
        """One vector of length one per text."""
        batch = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        batch = {
            name: batch[name].to(self.model.device) for name in ("input_ids", "attention_mask")
        }
        states = self.model(**batch).last_hidden_state.float()
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (states * mask).sum(1) / mask.sum(1)
        return nn.functional.normalize(mean, dim=-1)
