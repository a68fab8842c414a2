"""Dialogues as token ids: chat template, placeholders, and which tokens are learnt.

Works with any fast tokenizer that has a chat template, of either form (`diysink.model.template`).
Labels are found by rendering the dialogue up to each answer and comparing text, so no template
needs to mark its assistant spans.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from diysink.model.template import IMAGE as IMAGE
from diysink.model.template import either_form
from diysink.records import Turn

IGNORE = -100
ROLES = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True)
class Encoded:
    """One dialogue: token ids and labels (IGNORE where nothing is learnt)."""

    input_ids: Int[Tensor, " length"]
    labels: Int[Tensor, " length"]


class Prompter:
    """Turns dialogues and questions into token ids.

    Args:
        tokenizer: fast tokenizer with a chat template and an ``<image>`` token.
        image_tokens: placeholders per image = visual tokens per image.

    Raises:
        ValueError: the tokenizer lacks a chat template or the ``<image>`` token.
    """

    def __init__(self, tokenizer: Any, image_tokens: int) -> None:
        template = either_form(tokenizer)
        if tokenizer.convert_tokens_to_ids(IMAGE) in (None, tokenizer.unk_token_id):
            raise ValueError(f"the tokenizer has no {IMAGE} token: add it as a special token")
        self.tokenizer = tokenizer
        self.template = template
        self.image_tokens = image_tokens

    def dialogue(self, turns: Sequence[Turn]) -> Encoded:
        """A whole dialogue; the answers (and the end-of-turn after each) are learnt.

        Raises:
            ValueError: the template changes earlier text as turns are added, so that the answers
                cannot be found in it.
        """
        messages = [{"role": ROLES[turn.speaker], "content": turn.text} for turn in turns]
        text = self._render(messages)
        spans = []
        for i, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            start = self._render(messages[:i], add_generation_prompt=True)
            end = self._render(messages[: i + 1])
            if not (text.startswith(start) and text.startswith(end)):
                raise ValueError(
                    "the chat template is not incremental: a dialogue does not start with the "
                    "rendering of its first turns, so its answers cannot be marked for learning"
                )
            spans.append((len(start), len(end)))
        coded = self._encode(text, return_offsets_mapping=True)
        labels = [
            token if any(a <= first and last <= b and first < last for a, b in spans) else IGNORE
            for token, (first, last) in zip(
                coded["input_ids"], coded["offset_mapping"], strict=True
            )
        ]
        return Encoded(torch.tensor(coded["input_ids"]), torch.tensor(labels))

    def question(self, text: str) -> Int[Tensor, " length"]:
        """A question (with its ``<image>``), up to where the answer begins."""
        rendered = self._render([{"role": "user", "content": text}], add_generation_prompt=True)
        return torch.tensor(self._encode(rendered)["input_ids"])

    def pad(
        self, rows: Sequence[Int[Tensor, " _"]], *, side: str, value: int | None = None
    ) -> tuple[Int[Tensor, "batch length"], Int[Tensor, "batch length"]]:
        """Rows of different lengths as one tensor, and the mask of true tokens."""
        fill = self.tokenizer.pad_token_id if value is None else value
        ids = torch.nn.utils.rnn.pad_sequence(
            list(rows), batch_first=True, padding_value=fill, padding_side=side
        )
        ones = [torch.ones_like(row) for row in rows]
        return ids, torch.nn.utils.rnn.pad_sequence(ones, batch_first=True, padding_side=side)

    def _encode(self, text: str, **options: Any) -> Any:
        # As transformers' processors do, so that a prompt is the same ids from here and from there:
        # the tokenizer adds what it adds (Llama's <s>), unless the template has written it.
        start = self.tokenizer.bos_token
        written = start is not None and text.startswith(start)
        return self.tokenizer(text, add_special_tokens=not written, **options)

    def _render(
        self, messages: list[dict[str, str]], *, add_generation_prompt: bool = False
    ) -> str:
        text: str = self.tokenizer.apply_chat_template(
            messages,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
        return text.replace(IMAGE, IMAGE * self.image_tokens)
