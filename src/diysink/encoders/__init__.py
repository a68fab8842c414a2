"""Vision encoders: pixels to the hidden states of one layer, and the attention they receive."""

from diysink.encoders.checkpoint import check_weights, checkpoint_source, model_type_of
from diysink.encoders.encoder import Encoder, Observation
from diysink.encoders.formats import CheckpointError
from diysink.encoders.identity import EncoderIdentity
from diysink.encoders.images import load_image_processor, stock_image_processor, to_pixels
from diysink.encoders.loading import let_auto_model_build, load_encoder, load_vision_tower
from diysink.encoders.pixels import ImageBackend, ImageProcessor, Pixels
from diysink.encoders.pretrained import (
    load_pretrained,
    load_tokenizer,
    naming_damage,
    quiet_loading,
)
from diysink.encoders.untrained import exchanged, untrained_like

__all__ = [
    "CheckpointError",
    "Encoder",
    "EncoderIdentity",
    "ImageBackend",
    "ImageProcessor",
    "Observation",
    "Pixels",
    "check_weights",
    "checkpoint_source",
    "exchanged",
    "let_auto_model_build",
    "load_encoder",
    "load_image_processor",
    "load_pretrained",
    "load_tokenizer",
    "load_vision_tower",
    "model_type_of",
    "naming_damage",
    "quiet_loading",
    "stock_image_processor",
    "to_pixels",
    "untrained_like",
]
