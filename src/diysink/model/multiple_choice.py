"""Ask the model multiple-choice questions: log-likelihoods of the choices, no decoding.

Two scorers with the same result. ``PromptScorer`` runs one whole prompt per question and choice:
plain, and the reference. ``CachedScorer`` reads text and image once and scores all questions and
choices of an item behind that prefix in one pass; the answer then goes on from the same prefix.
(The paper's CoT asks two more prompts per question.)
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from diysink.model.chat import IGNORE, IMAGE, ChatEncoder, Encoded
from diysink.model.choice_scores import choice_scores
from diysink.model.lengths import fitting, positions
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.prefix import Prefix
from diysink.model.tree import TokenTree, log_probabilities, score_trees
from diysink.records import Turn
from diysink.selection import Choice, MultipleChoice, QuestionBatch, Route, Scores


class PromptScorer:
    """One prompt per question and choice; the definition of what :class:`CachedScorer` computes.

    Args:
        model: the model that is asked.
        chat_encoder: prompts for its tokenizer.
        evidence: which visual tokens the model sees while it is asked.
    """

    def __init__(
        self,
        model: DIYSinkForConditionalGeneration,
        chat_encoder: ChatEncoder,
        evidence: Route | str = Route.BOTH,
    ) -> None:
        self.model, self.chat_encoder = model, chat_encoder
        self.evidence = Route(evidence)

    @torch.no_grad()
    def __call__(
        self, questions: QuestionBatch, multiple_choices: Sequence[MultipleChoice]
    ) -> Scores:
        """Score of every choice. Equal (image, prompt) pairs are asked once.

        Of a question that is too long for the language model, its beginning is asked about.
        """
        limit = positions(self.model.config)
        fit = [
            _fitting(self.chat_encoder, multiple_choice, limit)
            for multiple_choice in multiple_choices
        ]
        return Scores(
            tuple(
                choice_scores(self.model, self.chat_encoder, one, self._score(questions, one))
                for one in fit
            )
        )

    def _score(
        self, questions: QuestionBatch, multiple_choice: MultipleChoice
    ) -> Float[Tensor, "batch choices"]:
        pairs = list(zip(questions.images, multiple_choice.prompts, strict=True))
        asked = {pair: index for index, pair in enumerate(dict.fromkeys(pairs))}
        pixels = _pixels(questions)[[pairs.index(pair) for pair in asked]]
        encoded = [
            _dialogue(self.chat_encoder, prompt, choice)
            for _, prompt in asked
            for choice in multiple_choice.choices
        ]
        model = self.model
        ids, mask = self.chat_encoder.pad([e.input_ids for e in encoded], side="right")
        labels, _ = self.chat_encoder.pad([e.labels for e in encoded], side="right", value=IGNORE)
        spliced = model.model.splice(
            ids.to(model.device),
            mask.to(model.device),
            model.model.see(
                pixels.repeat_interleave(len(multiple_choice.choices), 0).to(
                    model.device, model.dtype
                )
            ),
            choice=Choice.of([self.evidence] * len(encoded)),
            labels=labels.to(model.device),
        )
        if spliced.labels is None:
            raise RuntimeError("the splice lost the labels it was given")
        states = model.model.language_model(
            inputs_embeds=spliced.embeds,
            attention_mask=spliced.mask,
            position_ids=spliced.positions,
        ).last_hidden_state[:, :-1]
        # Logits of the choices' own tokens alone: those of every visual token would fill a GPU.
        target = spliced.labels[:, 1:]
        row, column = (target != IGNORE).nonzero(as_tuple=True)
        said = log_probabilities(model, states[row, column], target[row, column])
        scores = torch.zeros(len(ids), device=said.device).index_add(0, row, said)
        return scores.reshape(len(asked), len(multiple_choice.choices)).cpu()[
            [asked[pair] for pair in pairs]
        ]


class CachedScorer:
    """All questions and choices behind one prefix per item; the answer goes on from it.

    Args:
        model: the model that is asked; its sinks in front, for the prefix to serve every route.
        chat_encoder: prompts for its tokenizer.
        evidence: which visual tokens the prefix holds: ``both`` (as in the paper) or ``sink``
            (cheaper: a handful of tokens instead of hundreds).
    """

    def __init__(
        self,
        model: DIYSinkForConditionalGeneration,
        chat_encoder: ChatEncoder,
        evidence: Route | str = Route.BOTH,
    ) -> None:
        self.model, self.chat_encoder = model, chat_encoder
        self.evidence = Route(evidence)
        if not self.serves(model):
            raise ValueError(
                "this language model has layers with sliding-window attention, behind which a "
                "prefix cannot be shared exactly: use PromptScorer"
            )

    @staticmethod
    def serves(model: DIYSinkForConditionalGeneration) -> bool:
        """Whether every layer of the language model sees the whole prefix."""
        kinds = getattr(model.config.text_config, "layer_types", None) or ()
        return "sliding_attention" not in kinds

    @torch.no_grad()
    def __call__(
        self, questions: QuestionBatch, multiple_choices: Sequence[MultipleChoice]
    ) -> Scores:
        """Score of every choice, and the prefix that was read.

        Of a question that is too long for the language model, its beginning is asked about.

        Raises:
            ValueError: the chat template puts other text before the image for another question.
        """
        model, device = self.model, self.model.device
        limit = positions(model.config)
        multiple_choices = [
            _fitting(self.chat_encoder, multiple_choice, limit)
            for multiple_choice in multiple_choices
        ]
        # What is asked alike of several items is written once.
        written = {
            (prompt, choice): _dialogue(self.chat_encoder, prompt, choice)
            for multiple_choice in multiple_choices
            for prompt in dict.fromkeys(multiple_choice.prompts)
            for choice in multiple_choice.choices
        }
        encoded = [
            [
                written[multiple_choice.prompts[item], choice]
                for multiple_choice in multiple_choices
                for choice in multiple_choice.choices
            ]
            for item in range(len(questions.texts))
        ]
        beginnings, trees = [], []
        for dialogues in encoded:
            beginning = self._beginning(dialogues)
            beginnings.append(beginning)
            trees.append(TokenTree.of(dialogues, len(beginning)))
        ids, mask = self.chat_encoder.pad(beginnings, side="left")
        visual = model.visual_tokens(questions)
        spliced = model.model.splice(
            ids.to(device),
            mask.to(device),
            visual,
            choice=Choice.of([self.evidence] * len(trees)),
            padding_side="left",
        )
        prefix = Prefix.read(model.model.language_model, spliced, visual)
        scores = score_trees(model, prefix, trees)
        sizes = [len(multiple_choice.choices) for multiple_choice in multiple_choices]
        return Scores(
            tuple(
                choice_scores(model, self.chat_encoder, one, part)
                for one, part in zip(
                    multiple_choices, torch.split_with_sizes(scores, sizes, dim=1), strict=True
                )
            ),
            prefix,
        )

    def _beginning(self, dialogues: Sequence[Encoded]) -> Tensor:
        """Token ids up to the image's last placeholder, the same in all dialogues of an item."""
        image = self.chat_encoder.tokenizer.convert_tokens_to_ids(IMAGE)
        ends = [int((d.input_ids == image).nonzero()[-1]) + 1 for d in dialogues]
        beginning = dialogues[0].input_ids[: ends[0]]
        if any(not torch.equal(d.input_ids[: len(beginning)], beginning) for d in dialogues):
            raise ValueError(
                "the chat template writes other text before the image for another question, so "
                "that questions about one image share no beginning: use PromptScorer"
            )
        return beginning


def _dialogue(chat_encoder: ChatEncoder, prompt: str, choice: str) -> Encoded:
    return chat_encoder.dialogue([Turn("human", f"{IMAGE}\n{prompt}"), Turn("gpt", choice)])


def _fitting(
    chat_encoder: ChatEncoder, multiple_choice: MultipleChoice, limit: int | None
) -> MultipleChoice:
    """A multiple_choice whose every prompt has positions, with each of the choices behind it.

    Raises:
        ValueError: a prompt is too long without the question in it.
    """
    if limit is None:
        return multiple_choice

    def choice_length(choice: str) -> int:
        return len(chat_encoder.tokenizer(choice, add_special_tokens=False)["input_ids"])

    longest = max(multiple_choice.choices, key=choice_length)
    known: dict[tuple[str, str], str] = {}
    around: dict[str, int] = {}
    for template, text in multiple_choice.parts():
        if (template, text) in known:
            continue

        def length(question: str, template: str = template) -> int:
            prompt = template.replace("{question}", question)
            return len(_dialogue(chat_encoder, prompt, longest).input_ids)

        if template not in around:
            around[template] = length("")
        empty = around[template]
        kept = fitting(chat_encoder.tokenizer, text, empty, length, limit)
        if kept is None:
            raise ValueError(
                f"an image and what is asked about it ({template!r}) are {empty} tokens, but "
                f"the language model has {limit} positions: shorten the template"
            )
        known[template, text] = template.replace("{question}", kept)
    return replace(multiple_choice, prompts=tuple(known[part] for part in multiple_choice.parts()))


def _pixels(questions: QuestionBatch) -> Tensor:
    if questions.pixel_values is None:
        raise ValueError("choices about an image cannot be scored without pixel_values")
    return questions.pixel_values
