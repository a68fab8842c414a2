"""Any supported vision-language model, prompted as its makers meant it to be.

Prompts are those of the model's own processor and chat template, answers are greedy. What is done
to visual tokens in between is an intervention around a model that knows nothing of it
(`diysink.evaluation.lvlm_changed`). Nothing is trained.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, ProcessorMixin

from diysink.architectures import lvlm_family
from diysink.encoders import checkpoint_source, load_pretrained, model_type_of, naming_damage
from diysink.evaluation.lvlm_likelihood import answer_tokens, content, mean_log_likelihoods
from diysink.evaluation.predict import Replies
from diysink.evaluation.processor import complete
from diysink.interventions import VisualTokens, visual_norms
from diysink.interventions.reading import parts_of_rows
from diysink.model.lengths import beginning, fitting, positions
from diysink.records import ImageFile, Record, answer_of, question_of

Images = ImageFile | Sequence[ImageFile]
"""What one question is about."""


class LVLM:
    """A vision-language model and its processor: pictures and questions in, answers out.

    Args:
        model: of a supported family, on its device.
        processor: the model's own, with a chat template.
        max_new_tokens: length limit of an answer.
        likelihoods: whether it is also measured how likely the right answers are.

    Raises:
        ValueError: an unsupported family, or no chat template.
    """

    def __init__(
        self, model: Any, processor: Any, *, max_new_tokens: int = 16, likelihoods: bool = True
    ) -> None:
        lvlm_family(model.config.model_type)
        if not processor.chat_template:
            raise ValueError(
                f"The processor of {model.config.name_or_path or type(model).__name__} has no chat "
                "template, so it is not known how to ask the model. Base models have none: give an "
                "instruction-tuned one, or put a chat_template.jinja into a copy of its folder."
            )
        tokenizer = processor.tokenizer
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.model = model
        self.processor = processor
        # The model's own settings (what ends an answer, what is suppressed), but no chance. What
        # is None here would be filled from the model's own again.
        self.generation = copy.deepcopy(model.generation_config)
        self.generation.update(
            do_sample=False,
            num_beams=1,
            temperature=1.0,
            top_p=1.0,
            top_k=50,
            max_new_tokens=max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )
        self.likelihoods = likelihoods

    @property
    def several_images(self) -> bool:
        """Whether a question may be about more than one image: all families' may but DIYSink's."""
        return not self.knows_its_sinks

    @property
    def knows_its_sinks(self) -> bool:
        """Whether it is a DIYSink model, which brings its own tau."""
        return bool(self.model.config.model_type == "diysink")

    def inputs(self, images: Sequence[Images], texts: Sequence[str]) -> Mapping[str, Any]:
        """A question each, as the model takes them: a batch padded on the left.

        Args:
            images: the image of each question, or several, whose placeholders are in its text.
            texts: the questions.
        """
        chats = [
            [{"role": "user", "content": content(text, [one.open() for one in _several(shown)])}]
            for shown, text in zip(images, texts, strict=True)
        ]
        inputs = self.processor.apply_chat_template(
            chats,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True, "padding_side": "left"},
        )
        on_device: Mapping[str, Any] = inputs.to(self.model.device, dtype=self.model.dtype)
        return on_device

    def norms(self, images: Sequence[ImageFile]) -> list[Float[Tensor, " _"]]:
        """Norms of each image's visual tokens, all its tiles together: see `visual_norms`."""
        inputs = self.inputs(images, [""] * len(images))
        pictures = visual_norms(self.model, **inputs)
        rows = parts_of_rows([len(one) for one in pictures], self._placeholders(inputs))
        return [torch.cat(pictures[row]) for row in rows]

    def answer(
        self,
        records: Sequence[Record],
        max_new_tokens: int | None = None,
        left: "Left | None" = None,
    ) -> Replies:
        """Greedy answers to a batch, and how likely the right ones are.

        Args:
            records: each with a question and its answer.
            max_new_tokens: length limit of an answer; None: the model's.
            left: what an intervention that is around the model leaves of its visual tokens.
        """
        texts = [question_of(record) for record in records]
        images, ids = [one.images for one in records], [one.id for one in records]
        generation = copy.deepcopy(self.generation)
        generation.return_dict_in_generate = True
        if max_new_tokens is not None:
            generation.max_new_tokens = max_new_tokens
        kept, inputs = self._fitting(images, texts, ids, generation.max_new_tokens)
        cut = [a != b for a, b in zip(kept, texts, strict=True)]
        counts = self._placeholders(inputs)
        if left is not None:
            left.clear()
        output = self.model.generate(**inputs, generation_config=generation)
        if left is not None:
            rows = parts_of_rows(left.tokens, counts)
            counts = [sum(left.kept[row]) for row in rows]
        answers = self.processor.tokenizer.batch_decode(
            output.sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        likely: Sequence[float] = ()
        if self.likelihoods:
            right = answer_tokens(self.processor, kept, map(answer_of, records), generation)
            likely = mean_log_likelihoods(
                self.model, inputs, right, generation, output.past_key_values
            )
        return Replies(
            texts=[answer.strip() for answer in answers],
            routes=["both"] * len(records),
            weights=[(1.0, 1.0)] * len(records),
            visual_tokens=counts,
            cut=cut,
            log_likelihoods=likely,
        )

    def fitting(
        self, images: Sequence[Images], texts: Sequence[str], ids: Sequence[str], tokens: int
    ) -> list[str]:
        """Of each question the beginning that leaves room for the image and an answer.

        Args:
            images: one for each question.
            texts: the questions.
            ids: of their records, for the error.
            tokens: of an answer.

        Raises:
            ValueError: there is no room for any question about an image; the record is named.
        """
        return self._fitting(images, texts, ids, tokens)[0]

    def _fitting(
        self, images: Sequence[Images], texts: Sequence[str], ids: Sequence[str], tokens: int
    ) -> tuple[list[str], Mapping[str, Any]]:
        """The questions that fit, and the inputs."""
        most = positions(self.model.config.get_text_config(decoder=True))
        if most is None:
            return list(texts), self.inputs(images, texts)
        limit = most - tokens
        tokenizer = self.processor.tokenizer
        # A text of megabytes is not tokenised whole to see that it is too long.
        kept = [
            beginning(tokenizer, text, limit)
            if len(text) > 8 * limit and len(_several(shown)) == 1
            else text
            for text, shown in zip(texts, images, strict=True)
        ]
        inputs, short = self.inputs(images, kept), list(kept)
        for row, length in enumerate(inputs["attention_mask"].sum(1).tolist()):
            if length <= limit:
                continue

            def measured(text: str, shown: Images = images[row]) -> int:
                return int(self.inputs([shown], [text])["input_ids"].shape[1])

            # A text about several images has their places in it, and is not cut.
            several = len(_several(images[row])) > 1
            least = length if several else measured("")
            fit = None if several else fitting(tokenizer, short[row], least, measured, limit)
            if fit is None:
                what = "images and its question" if several else "image and an empty question"
                raise ValueError(
                    f"record {ids[row]!r}: its {what} are {least} tokens, but the language model "
                    f"has room for {max(limit, 0)} beside the answer: lower max_new_tokens, or "
                    "leave the record out"
                )
            short[row] = fit
        return short, inputs if short == kept else self.inputs(images, short)

    def _placeholders(self, inputs: Mapping[str, Any]) -> list[int]:
        """Visual tokens of each sequence: every one has a placeholder in the prompt."""
        placeholders = inputs["input_ids"] == self.model.config.image_token_id
        counts: list[int] = placeholders.sum(1).tolist()
        return counts


def _several(images: Images) -> Sequence[ImageFile]:
    return [images] if isinstance(images, ImageFile) else images


@dataclass
class Left:
    """An intervention that changes nothing, and counts what those before it have left.

    Attributes:
        tokens: visual tokens of each image, in the order of the batch.
        kept: how many of them the language model sees.
    """

    tokens: list[int] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        """The tokens as they are."""
        self.tokens.append(len(tokens.index))
        self.kept.append(int(tokens.kept.sum()))
        return tokens

    def clear(self) -> None:
        """Forget earlier batches."""
        self.tokens.clear()
        self.kept.clear()


def load_lvlm(
    path_or_id: str | Path,
    revision: str | None = None,
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: torch.device | str = "cpu",
    max_new_tokens: int = 16,
) -> LVLM:
    """Load a model and its processor: safetensors only, no remote code, no random weights.

    Args:
        path_or_id: a folder or a hub id.
        revision: of a hub id; ignored for a folder.
        dtype: of the weights.
        device: where the model runs.
        max_new_tokens: length limit of an answer.

    Raises:
        ValueError: an unsupported family (before any weight is read), or no chat template.
        CheckpointError: another kind of checkpoint (the LLaVA authors' own layout, an adapter,
            ...), no safetensors, or missing weights.
        BrokenFileError: a file of it is damaged.
        OSError: nothing there.
        ImportError: the processor needs a library that is not installed (of many families,
            torchvision).
    """
    source = checkpoint_source(path_or_id, revision)
    lvlm_family(model_type_of(source, revision))
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    with naming_damage(source):
        processor = AutoProcessor.from_pretrained(
            source, revision=revision, trust_remote_code=False
        )
        written, _ = ProcessorMixin.get_processor_dict(source, revision=revision)
    complete(processor, config, written)
    model = load_pretrained(
        AutoModelForImageTextToText,
        source,
        revision,
        # A pooling head of the vision encoder is not run here, and some checkpoints lack one.
        optional=lambda name: ".pooler." in name or ".head." in name,
        dtype=dtype,
        trust_remote_code=False,
    )
    return LVLM(model.to(device).eval(), processor, max_new_tokens=max_new_tokens)
