"""Trains the miniature's sentence encoder: questions of one subtask come near each other.

It is a BERT whose last hidden states are averaged over the tokens. Trained by contrast on wordings
of the same subtask, with the blanks filled in differently; it is never told the group (global,
local, mixed), which is what the reweighting has to find out from its vectors.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from diysink.miniature.dialogue import SUBTASKS
from diysink.miniature.schedule import warm_cosine
from diysink.miniature.wordings import phrase
from diysink.miniature.world import COLOURS, SHAPES


def train_sentence_encoder(
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    steps: int,
    learning_rate: float = 2e-3,
    width: int = 64,
    layers: int = 2,
    temperature: float = 0.1,
) -> BertModel:
    """Trains the sentence encoder from a seed.

    Args:
        tokenizer: of the generated world.
        seed: of the weights and of the questions.
        steps: optimiser steps, each over two questions of every subtask.
        learning_rate: of AdamW, after a warm-up of a tenth of the steps, then by half a cosine.
        width: of the vectors.
        layers: how many.
        temperature: of the contrast between cosines.
    """
    torch.manual_seed(seed)
    model = BertModel(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=2 * width,
            max_position_embeddings=256,
            pad_token_id=tokenizer.pad_token_id,
        ),
        add_pooling_layer=False,
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_cosine(steps))
    rng = np.random.default_rng(seed)
    subtasks = [subtask for group in SUBTASKS.values() for subtask in group]
    own = torch.arange(len(subtasks))
    model.train()
    for _ in range(steps):
        first, second = (
            embed(model, tokenizer, [any_question(subtask, rng) for subtask in subtasks])
            for _ in range(2)
        )
        likeness = F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).T / temperature
        loss = F.cross_entropy(likeness, own) + F.cross_entropy(likeness.T, own)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return model.eval()


def embed(
    model: BertModel, tokenizer: PreTrainedTokenizerFast, sentences: list[str]
) -> Float[Tensor, "batch width"]:
    """The mean of each sentence's last hidden states, padding left out."""
    tokens = tokenizer(sentences, padding=True, return_tensors="pt", return_token_type_ids=False)
    hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)


def any_question(subtask: str, rng: np.random.Generator) -> str:
    """A wording of a subtask's question about no scene in particular."""
    colour, shape = str(rng.choice(COLOURS)), str(rng.choice(SHAPES))
    return phrase(subtask, rng, colour=colour, shape=shape)
