"""The processor: images and chat messages as a model takes them, one placeholder a visual token.

Users of transformers get it from ``AutoProcessor``. Unlike LLaVA's it does not work out the number
of placeholders from pixels: the connector decides it (a resampler gives as many tokens as it has
queries), so the number is a setting, saved with the model.
"""

from typing import Any, no_type_check

from transformers import ProcessorMixin

from diysink.model.chat import ChatEncoder
from diysink.model.template import IMAGE, either_form


class DIYSinkProcessor(ProcessorMixin):
    """An image processor and a tokenizer as one.

    ``processor(images=..., text=...)`` writes ``image_seq_length`` placeholders for every
    ``<image>`` of the text. ``apply_chat_template`` takes messages whose content is text or a list
    of parts (``{"type": "image"}``, ``{"type": "text", "text": ...}``), whatever the tokenizer's
    own template takes.

    Args:
        image_processor: of transformers.
        tokenizer: a fast tokenizer with an ``<image>`` token.
        image_seq_length: visual tokens of an image, after the connector.
        chat_template: None = the tokenizer's, made to take either form of message.

    Raises:
        ValueError: the number of visual tokens is not known, or the tokenizer has no ``<image>``.
    """

    image_seq_length: int
    image_token: str
    image_token_id: int

    @no_type_check  # transformers reads this signature, and a checker's wrapper has another
    def __init__(
        self,
        image_processor: Any,
        tokenizer: Any,
        image_seq_length: int | None = None,
        chat_template: str | None = None,
    ) -> None:
        if image_seq_length is None:
            raise ValueError(
                "image_seq_length is not given, and no processor_config.json says it: a folder "
                "written by an earlier version loads with diysink.model.load, and "
                "DIYSinkProcessor(image_processor, tokenizer, config.image_seq_length) makes its "
                "processor"
            )
        if tokenizer.convert_tokens_to_ids(IMAGE) in (None, tokenizer.unk_token_id):
            raise ValueError(f"the tokenizer has no {IMAGE} token: add it as a special token")
        self.image_seq_length = image_seq_length
        self.image_token = IMAGE
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE)
        if chat_template is None and tokenizer.chat_template:
            chat_template = either_form(tokenizer)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)

    @property
    def unused_input_names(self) -> list[str]:
        """What some tokenizers give and no LLaVA-shaped model takes."""
        return ["token_type_ids"]

    @property
    def chat_encoder(self) -> ChatEncoder:
        """Dialogues with labels, for training, in the same words."""
        return ChatEncoder(self.tokenizer, self.image_seq_length)

    def replace_image_token(self, image_inputs: Any, image_idx: int, **kwargs: Any) -> str:
        """What stands for one ``<image>`` of the text."""
        return self.image_token * self.image_seq_length
