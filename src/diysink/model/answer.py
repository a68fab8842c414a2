"""Ask a saved model: images and questions in, answers out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer

from diysink.encoders import ImageProcessor, load_image_processor, quiet_loading
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.prefix import Prefix
from diysink.model.prompt import IMAGE, Prompter
from diysink.selection import Choice, QuestionBatch, Selection, load_selection


@dataclass(frozen=True)
class Answers:
    """Answers to a batch of questions, and what they were given from.

    Attributes:
        texts: the answers.
        choice: the routes and weights they were given under.
        visual_tokens: how many visual tokens the language model saw, per question.
    """

    texts: list[str]
    choice: Choice
    visual_tokens: list[int]


class Answerer:
    """A model, its prompts and a selection: images and questions in, answers out.

    Args:
        model: the model, on its device.
        prompter: prompts for its tokenizer.
        image_processor: images to pixel values.
        selection: which visual tokens each question sees; None = both.
        max_new_tokens: length limit of an answer.
    """

    def __init__(
        self,
        model: DIYSinkForConditionalGeneration,
        prompter: Prompter,
        image_processor: ImageProcessor,
        selection: Selection | None = None,
        max_new_tokens: int = 16,
    ) -> None:
        self.model = model.eval()
        self.prompter = prompter
        self.image_processor = image_processor
        self.selection = selection
        self.max_new_tokens = max_new_tokens

    def answer(self, images: Sequence[Any], questions: Sequence[str]) -> list[str]:
        """Answers to one question about each PIL image."""
        return self.answer_batch(QuestionBatch.about(questions, self.pixels(images))).texts

    def pixels(self, images: Sequence[Any]) -> Float[Tensor, "batch channels height width"]:
        """PIL images as pixel values."""
        return self.image_processor(images)

    @torch.no_grad()
    def answer_batch(self, questions: QuestionBatch) -> Answers:
        """Greedy answers, and the choice they were given under.

        Raises:
            ValueError: the batch has no pixel values.
        """
        if questions.pixel_values is None:
            raise ValueError("questions without pixel_values cannot be answered: there is no image")
        choice = (
            self.selection(questions)
            if self.selection is not None
            else Choice.of(["both"] * len(questions.texts))
        )
        rows = [self.prompter.question(f"{IMAGE}\n{text}") for text in questions.texts]
        ids, mask = self.prompter.pad(rows, side="left")
        device = self.model.device
        # Encoded once: choosing may already have done it.
        visual = (
            choice.prefix.visual
            if isinstance(choice.prefix, Prefix)
            else self.model.model.see(questions.pixel_values.to(device, self.model.dtype))
        )
        tokenizer = self.prompter.tokenizer
        sequences = self.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            visual=visual,
            selection=choice,
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        texts = tokenizer.batch_decode(sequences[:, ids.shape[1] :], skip_special_tokens=True)
        return Answers([text.strip() for text in texts], choice, visual.seen(choice))


def load(
    folder: Path | str, *, selection: Selection | None = None, device: str = "cpu"
) -> Answerer:
    """A saved model folder (model, tokenizer, image processor) as something to ask.

    A folder that also holds a trained selection (ReW and its sentence encoder in ``sentence/``, or
    LSG: see :func:`diysink.selection.load_selection`) answers with it unless another is given.
    """
    folder = Path(folder)
    with quiet_loading():
        model = DIYSinkForConditionalGeneration.from_pretrained(folder, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model = model.to(device)
    if selection is None:
        words = model.get_input_embeddings()
        trained = load_selection(folder, folder / "sentence", words, tokenizer)
        selection = None if trained is None else trained.to(device)
    return Answerer(
        model,
        Prompter(tokenizer, model.config.image_seq_length),
        load_image_processor(folder),
        selection,
    )
