"""Ask a saved model: images and questions in, answers out."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoConfig, DynamicCache

from diysink.encoders import (
    CheckpointError,
    ImageProcessor,
    checkpoint_source,
    load_image_processor,
    load_pretrained,
    load_tokenizer,
)
from diysink.model.chat import IMAGE, ChatEncoder
from diysink.model.lengths import positions
from diysink.model.likelihood import mean_log_likelihoods
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.prefix import Prefix
from diysink.selection import Choice, QuestionBatch, Selection, load_selection

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneratedAnswers:
    """Answers to a batch of questions, and what they were given from.

    Attributes:
        texts: the answers.
        choice: the routes and weights they were given under.
        visual_tokens: how many visual tokens the language model saw, per question.
        cut: whether a question was longer than the model reads, and only its beginning was asked.
        log_likelihoods: of the right answers, where they were given: nats per token, end of turn
            included; NaN where the language model has no positions left for one.
    """

    texts: list[str]
    choice: Choice
    visual_tokens: list[int]
    cut: tuple[bool, ...] = ()
    log_likelihoods: tuple[float, ...] = ()


class AnswerGenerator:
    """A model, its prompts and a selection: images and questions in, answers out.

    Args:
        model: the model, on its device.
        chat_encoder: prompts for its tokenizer.
        image_processor: images to pixel values.
        selection: which visual tokens each question sees; None = both.
        max_new_tokens: length limit of an answer.
    """

    def __init__(
        self,
        model: DIYSinkForConditionalGeneration,
        chat_encoder: ChatEncoder,
        image_processor: ImageProcessor,
        selection: Selection | None = None,
        max_new_tokens: int = 16,
    ) -> None:
        self.model = model.eval()
        self.chat_encoder = chat_encoder
        self.image_processor = image_processor
        self.selection = selection
        self.max_new_tokens = max_new_tokens

    def answer(self, images: Sequence[Any], questions: Sequence[str]) -> list[str]:
        """Answers to one question about each PIL image; of one that is too long, its beginning."""
        answers = self.answer_batch(QuestionBatch.about(questions, self.pixels(images)))
        if cut := [row for row, was in enumerate(answers.cut) if was]:
            logger.warning(
                "%d of %d questions are longer than the model reads; their beginnings were asked: "
                "questions %s (counted from 0)",
                len(cut),
                len(answers.cut),
                ", ".join(map(str, cut[:5])) + (", ..." if len(cut) > 5 else ""),
            )
        return answers.texts

    @contextmanager
    def limited(self, max_new_tokens: int | None) -> Iterator[None]:
        """Another length limit of an answer for a while; None: no other."""
        own = self.max_new_tokens
        self.max_new_tokens = own if max_new_tokens is None else max_new_tokens
        try:
            yield
        finally:
            self.max_new_tokens = own

    @property
    def longest(self) -> int | None:
        """How many tokens a prompt may have, visual ones included; None: there is no limit."""
        most = positions(self.model.config)
        return None if most is None else most - self.max_new_tokens

    def pixels(self, images: Sequence[Any]) -> Float[Tensor, "batch channels height width"]:
        """PIL images as pixel values."""
        return self.image_processor(images)

    @torch.no_grad()
    def answer_batch(
        self, questions: QuestionBatch, references: Sequence[str] = ()
    ) -> GeneratedAnswers:
        """Greedy answers, and the choice they were given under.

        Of a question that is too long for the language model, its beginning is asked, and chosen
        by: as long as it, the visual tokens and the answer have positions.

        Args:
            questions: with images.
            references: the right answers, whose log-likelihoods are wanted under the same prompts
                and choice; empty: none are. They change no answer.

        Raises:
            ValueError: the batch has no images; or there is room for no question at all.
        """
        kept = tuple(self.chat_encoder.fitting(text, self.longest) for text in questions.texts)
        cut = tuple(a != b for a, b in zip(kept, questions.texts, strict=True))
        questions = replace(questions, texts=kept)
        choice = (
            self.selection(questions)
            if self.selection is not None
            else Choice.of(["both"] * len(questions.texts))
        )
        asked = [f"{IMAGE}\n{text}" for text in questions.texts]
        rows = [self.chat_encoder.question(text) for text in asked]
        ids, mask = self.chat_encoder.pad(rows, side="left")
        device = self.model.device
        # Encoded once: choosing may already have done it.
        visual = (
            choice.prefix.visual
            if isinstance(choice.prefix, Prefix)
            else self.model.visual_tokens(questions)
        )
        tokenizer = self.chat_encoder.tokenizer
        cache = DynamicCache(config=self.model.config.get_text_config(decoder=True))
        cache.activate_past_recording()  # so that layers with a sliding window can go back, too
        output = self.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            visual=visual,
            selection=choice,
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            past_key_values=cache,
            return_dict_in_generate=True,
        )
        texts = tokenizer.batch_decode(
            output.sequences[:, ids.shape[1] :], skip_special_tokens=True
        )
        told = [
            self.chat_encoder.answer(*of)
            for of in zip(rows, asked, references, strict=bool(references))
        ]
        likely = mean_log_likelihoods(
            self.model,
            output.past_key_values,
            output.prompt_mask,
            ids[:, -1],
            told,
            positions(self.model.config),
        )
        return GeneratedAnswers(
            [text.strip() for text in texts], choice, visual.seen(choice), cut, tuple(likely)
        )


def load(
    folder: Path | str, *, selection: Selection | None = None, device: str = "cpu"
) -> AnswerGenerator:
    """A saved model folder (model, tokenizer, image processor) as something to ask.

    A folder that also holds a trained selection (ReW and its sentence encoder in ``sentence/``, or
    LSG: see :func:`diysink.selection.load_selection`) answers with it unless another is given.

    Raises:
        CheckpointError: another kind of checkpoint, or not a whole one.
        BrokenFileError: a file of it is damaged.
    """
    folder = Path(folder)
    source = checkpoint_source(folder)
    kind = AutoConfig.from_pretrained(source, trust_remote_code=False).model_type
    if kind != "diysink":
        raise CheckpointError(
            f"{source} is a {kind!r} model, not a saved model of this project. "
            + (
                "Convert it first: diysink.from_llava(folder, profile).save(other)"
                if kind == "llava"
                else "Give a folder that Assembled.save or the finetune stage wrote"
            )
        )
    model = load_pretrained(DIYSinkForConditionalGeneration, source)
    tokenizer = load_tokenizer(source)
    model = model.to(device)
    if selection is None:
        embeddings = model.get_input_embeddings()
        trained = load_selection(folder, folder / "sentence", embeddings, tokenizer)
        selection = None if trained is None else trained.to(device)
    return AnswerGenerator(
        model,
        ChatEncoder(tokenizer, model.config.image_seq_length),
        load_image_processor(folder),
        selection,
    )
