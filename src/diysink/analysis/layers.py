"""The vision tower of a DIYSink model as an encoder."""

from diysink.encoders import Encoder
from diysink.model import DIYSinkForConditionalGeneration


def connected_encoder(model: DIYSinkForConditionalGeneration) -> Encoder:
    """The vision tower up to the layer that feeds the connector, sharing the model's modules."""
    return Encoder.of(model.model.vision_tower, model.config.vision_feature_layer)
