"""Dialogues as token ids: chat template, placeholders, and which tokens have labels.

Works with any fast tokenizer that has a chat template, of either form (`diysink.model.template`).
Labels are found by rendering the dialogue up to each answer and comparing text, so no template
needs to mark its assistant spans.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from diysink.model.lengths import fitting
from diysink.model.template import IMAGE as IMAGE
from diysink.model.template import either_form
from diysink.records import Turn

IGNORE = -100
ROLES = {"human": "user", "gpt": "assistant"}


@dataclass(frozen=True)
class Encoded:
    """One dialogue: token ids and labels (IGNORE where the loss ignores the token).

    Attributes:
        input_ids: of the dialogue.
        labels: of its answers.
    """

    input_ids: Int[Tensor, " length"]
    labels: Int[Tensor, " length"]


class ChatEncoder:
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
        self._image_id = tokenizer.convert_tokens_to_ids(IMAGE)
        self._empty: int | None = None  # length of a prompt with an empty question
        self._frames: dict[int, int] = {}

    def dialogue(self, turns: Sequence[Turn]) -> Encoded:
        """A dialogue; the answers (and the end-of-turn after each) have labels.

        Raises:
            ValueError: the template changes earlier text as turns are added, so that the answers
                cannot be found in it.
        """
        messages = _messages(turns)
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
        ids = torch.tensor(coded["input_ids"])
        first, last = torch.tensor(coded["offset_mapping"]).T
        answers = torch.zeros_like(ids, dtype=torch.bool)
        for begin, close in spans:
            answers |= (begin <= first) & (last <= close) & (first < last)
        labels = ids.where(answers, IGNORE)
        return Encoded(self._expanded(ids, ids), self._expanded(labels, ids))

    def fitting_turns(self, turns: Sequence[Turn], limit: int) -> int:
        """How many of the first turns fit, each question with its answer; 0: not even one.

        A dialogue of megabytes is not tokenised to its end.

        Args:
            turns: of the dialogue, human and gpt.
            limit: how many tokens it may have, visual ones included.
        """
        if self._surely_fits(turns, limit) or self._fits(turns, limit):
            return len(turns)
        rounds = range(1, len(turns) // 2)
        return 2 * bisect_left(rounds, True, key=lambda n: not self._fits(turns[: 2 * n], limit))

    def _surely_fits(self, turns: Sequence[Turn], limit: int) -> bool:
        """Whether not even as many tokens as bytes are too many; nothing is rendered for it."""
        number = len(turns)
        if number not in self._frames:  # bytes of the template around so many turns
            shortest = [Turn(turn.speaker, "a") for turn in turns]
            self._frames[number] = len(self._render(_messages(shortest)).encode())
        visual = self.image_tokens * sum(turn.text.count(IMAGE) for turn in turns)
        size = sum(len(turn.text.encode()) for turn in turns)
        return self._frames[number] + size + visual + 8 <= limit

    def _fits(self, turns: Sequence[Turn], limit: int) -> bool:
        text = self._render(_messages(turns))
        images = text.count(IMAGE)
        # No tokenizer makes more tokens of a text than it has bytes, but for its own marks.
        visual = images * self.image_tokens
        if len(text.replace(IMAGE, "").encode()) + visual + 8 <= limit:
            return True
        characters = images * len(IMAGE) + 8 * limit  # English has four or five to a token
        while characters < len(text):
            # What stands near the end of a part may be other tokens in the whole.
            if len(self._ids(text[:characters])) >= limit + 64:
                return False
            characters *= 2
        return len(self._ids(text)) <= limit

    def fitting(self, text: str, limit: int | None) -> str:
        """A question's beginning whose prompt has at most so many tokens; all of it, if it fits.

        Args:
            text: the question, without ``<image>``; the prompt has one.
            limit: of the prompt; None: none.

        Raises:
            ValueError: the prompt is too long without any question.
        """
        if limit is None:
            return text

        def length(question: str) -> int:
            return len(self.question(f"{IMAGE}\n{question}"))

        if self._empty is None:
            self._empty = length("")
        kept = fitting(self.tokenizer, text, self._empty, length, limit)
        if kept is None:
            raise ValueError(
                f"an image and an empty question are {self._empty} tokens, but the language model "
                f"has room for {max(limit, 0)} beside the answer: lower max_new_tokens, or take a "
                "connector with fewer visual tokens"
            )
        return kept

    def question(self, text: str) -> Int[Tensor, " length"]:
        """A question (with its ``<image>``), up to where the answer begins."""
        return self._ids(
            self._render([{"role": "user", "content": text}], add_generation_prompt=True)
        )

    def answer(
        self, prompt: Int[Tensor, " length"], text: str, answer: str
    ) -> Int[Tensor, " tokens"]:
        """An answer behind the prompt of a question, and what ends its turn.

        Where a dialogue does not begin with the tokens of the prompt, they are those of the answer
        by itself and the tokenizer's end of sequence.

        Args:
            prompt: `question` of the same text.
            text: the question (with its ``<image>``).
            answer: to it.
        """
        turns = [Turn("human", text), Turn("gpt", answer)]
        ids = self._ids(self._render(_messages(turns)))
        if torch.equal(ids[: len(prompt)], prompt):
            return ids[len(prompt) :]
        alone = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
        end = self.tokenizer.eos_token_id
        return torch.tensor([*alone, *([] if end is None else [end])], dtype=torch.long)

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

    def _ids(self, text: str) -> Int[Tensor, " length"]:
        ids = torch.tensor(self._encode(text)["input_ids"], dtype=torch.long)
        return self._expanded(ids, ids)

    def _expanded(
        self, values: Int[Tensor, " short"], ids: Int[Tensor, " short"]
    ) -> Int[Tensor, " length"]:
        """Values of tokens, those of each ``<image>`` as often as an image has visual tokens.

        The same as to tokenise so many ``<image>``, as transformers' processors do, in a sixth of
        the time: a tokenizer cuts them off before it reads the text on either side.
        """
        return values.repeat_interleave(1 + (ids == self._image_id) * (self.image_tokens - 1))

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
        return text


def _messages(turns: Sequence[Turn]) -> list[dict[str, str]]:
    return [{"role": ROLES[turn.speaker], "content": turn.text} for turn in turns]
