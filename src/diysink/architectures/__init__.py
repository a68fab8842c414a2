"""What differs between models, and the one way into them.

Two tables say where a vision encoder (`ENCODERS`) and a vision-language model (`LVLMS`) keep their
parts; `diysink.architectures.hooks` captures and patches what runs in them.
"""

from diysink.architectures.attended import Attended, Change, seen_attention
from diysink.architectures.encoders import ENCODERS, EncoderFamily, encoder_family
from diysink.architectures.errors import UnsupportedInterventionError, UnsupportedModelError
from diysink.architectures.language import (
    check_language_model,
    decoder_layers,
    embedding_name,
    key_module,
    recurrent_layers,
    shown_layers,
)
from diysink.architectures.lvlms import LVLMS, LVLMFamily, lvlm_family
from diysink.architectures.patches.image import Arguments, EncodedImage
from diysink.architectures.refused import REFUSED_ENCODERS, REFUSED_LVLMS

__all__ = [
    "ENCODERS",
    "LVLMS",
    "REFUSED_ENCODERS",
    "REFUSED_LVLMS",
    "Arguments",
    "Attended",
    "Change",
    "EncodedImage",
    "EncoderFamily",
    "LVLMFamily",
    "UnsupportedInterventionError",
    "UnsupportedModelError",
    "check_language_model",
    "decoder_layers",
    "embedding_name",
    "encoder_family",
    "key_module",
    "lvlm_family",
    "recurrent_layers",
    "seen_attention",
    "shown_layers",
]
