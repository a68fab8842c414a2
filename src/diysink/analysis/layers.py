"""Where the visual tokens of a DIYSink model are: in its encoder, its prompts and its layers."""

from jaxtyping import Shaped
from torch import Tensor

from diysink.encoders import Encoder
from diysink.model import AnswerGenerator, DIYSinkForConditionalGeneration, Spliced, Visual
from diysink.model.chat import IMAGE


def connected_encoder(model: DIYSinkForConditionalGeneration) -> Encoder:
    """The vision tower up to the layer that feeds the connector, sharing the model's modules."""
    return Encoder.of(model.model.vision_tower, model.config.vision_feature_layer)


def one_token_per_patch(model: DIYSinkForConditionalGeneration, patches: int) -> None:
    """Refuse a connector whose tokens belong to no patch.

    Raises:
        ValueError: it gives another number of tokens than there are patches.
    """
    if patches != model.config.image_seq_length:
        raise ValueError(
            f"the {model.config.connector} gives {model.config.image_seq_length} tokens for "
            f"{patches} patches: a token inside the language model belongs to no patch. Look at a "
            "model whose connector keeps one token per patch."
        )


def image_prompt(generator: AnswerGenerator, visual: Visual) -> Spliced:
    """Each image alone in a user's turn, nothing asked: what a causal model knows before."""
    row = generator.chat_encoder.question(IMAGE)
    ids, mask = generator.chat_encoder.pad([row] * len(visual.features), side="left")
    model = generator.model
    return model.model.splice(
        ids.to(model.device), mask.to(model.device), visual, padding_side="left"
    )


def by_patch(
    states: Shaped[Tensor, "batch length *dims"], spliced: Spliced
) -> Shaped[Tensor, "batch tokens *dims"]:
    """Rows of the visual tokens of one image per item, in raster order whatever the arrangement."""
    batch = len(states)
    order = spliced.source[spliced.visual].reshape(batch, -1).argsort(1)
    rows = states[spliced.visual].reshape(batch, order.shape[1], *states.shape[2:])
    index = order.reshape(*order.shape, *[1] * (states.ndim - 2))
    return rows.gather(1, index.expand_as(rows))
