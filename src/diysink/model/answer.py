"""Ask a saved model: answers, and the log-likelihood of given choices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoTokenizer

from diysink.artifact import digest_bytes
from diysink.encoders import ImageProcessor, load_image_processor, quiet_loading
from diysink.model.modeling import DIYSinkForConditionalGeneration
from diysink.model.prompt import IGNORE, IMAGE, Prompter
from diysink.records import Turn
from diysink.selection import Choice, QuestionBatch, Selection, load_reweight


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
        batch = QuestionBatch(
            texts=tuple(questions),
            ids=tuple(str(i) for i in range(len(questions))),
            groups=(None,) * len(questions),
            images=tuple(_digest(image) for image in images),
            pixel_values=self.pixels(images),
        )
        return self.answer_batch(batch)[0]

    def pixels(self, images: Sequence[Any]) -> Float[Tensor, "batch channels height width"]:
        """PIL images as pixel values."""
        return self.image_processor(images)

    def answer_batch(self, questions: QuestionBatch) -> tuple[list[str], Choice]:
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
        tokenizer = self.prompter.tokenizer
        sequences = self.model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            pixel_values=questions.pixel_values.to(device, self.model.dtype),
            choice=choice,
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        texts = tokenizer.batch_decode(sequences[:, ids.shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts], choice


def choice_log_likelihoods(
    model: DIYSinkForConditionalGeneration,
    prompter: Prompter,
    questions: QuestionBatch,
    prompts: Sequence[str],
    choices: Sequence[str],
) -> Float[Tensor, "batch choices"]:
    """Log-likelihood of every choice (with its end of turn) as the answer to its prompt.

    The model sees both sets of visual tokens. Equal (image, prompt) pairs are asked once.

    Args:
        model: the model that is asked.
        prompter: prompts for its tokenizer.
        questions: gives images and their digests.
        prompts: one question per item, without image placeholder.
        choices: the answers to compare.
    """
    if questions.pixel_values is None:
        raise ValueError("choices about an image cannot be scored without pixel_values")
    asked: dict[tuple[str, str], int] = {}
    pixels = []
    for image, prompt, pixel in zip(questions.images, prompts, questions.pixel_values, strict=True):
        if (image, prompt) not in asked:
            asked[image, prompt] = len(asked)
            pixels.append(pixel)
    encoded = [
        prompter.dialogue([Turn("human", f"{IMAGE}\n{prompt}"), Turn("gpt", choice)])
        for _, prompt in asked
        for choice in choices
    ]
    device = model.device
    ids, mask = prompter.pad([e.input_ids for e in encoded], side="right")
    labels, _ = prompter.pad([e.labels for e in encoded], side="right", value=IGNORE)
    stacked = torch.stack(pixels).repeat_interleave(len(choices), 0)
    with torch.no_grad():
        spliced = model.model.splice(
            ids.to(device),
            mask.to(device),
            stacked.to(device, model.dtype),
            labels=labels.to(device),
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
        logits = model.lm_head(states[row, column]).float()
        said = logits.log_softmax(-1).gather(1, target[row, column].unsqueeze(-1)).squeeze(-1)
    scores = torch.zeros(len(ids), device=said.device).index_add(0, row, said)
    scores = scores.reshape(len(asked), len(choices)).cpu()
    rows = [asked[image, prompt] for image, prompt in zip(questions.images, prompts, strict=True)]
    return scores[rows]


def _digest(image: Any) -> str:
    """What a PIL image shows: two palettes over the same bytes are two images."""
    shown = image.convert("RGB")
    return digest_bytes(repr(shown.size).encode() + shown.tobytes())


def load(
    folder: Path | str, *, selection: Selection | None = None, device: str = "cpu"
) -> Answerer:
    """A saved model folder (model, tokenizer, image processor) as something to ask.

    A folder that also holds ReW (``reweight.safetensors``, ``reweight.json`` and the sentence
    encoder in ``sentence/``) answers with it unless another selection is given.
    """
    folder = Path(folder)
    with quiet_loading():
        model = DIYSinkForConditionalGeneration.from_pretrained(folder, use_safetensors=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if selection is None and (folder / "reweight.json").is_file():
        selection = load_reweight(folder, folder / "sentence")
    return Answerer(
        model.to(device),
        Prompter(tokenizer, model.config.image_seq_length),
        load_image_processor(folder),
        selection,
    )
