"""Vision encoders: pixels to the hidden states of one layer, and the attention they receive."""

from diysink.encoders.encoder import Encoder, Observation
from diysink.encoders.families import FAMILIES
from diysink.encoders.identity import EncoderIdentity
from diysink.encoders.images import (
    ImageProcessor,
    load_image_processor,
    stock_image_processor,
    to_pixels,
)
from diysink.encoders.loading import load_encoder, load_vision_tower, quiet_loading

__all__ = [
    "FAMILIES",
    "Encoder",
    "EncoderIdentity",
    "ImageProcessor",
    "Observation",
    "load_encoder",
    "load_image_processor",
    "load_vision_tower",
    "quiet_loading",
    "stock_image_processor",
    "to_pixels",
]
