"""DIYSink as a Hugging Face model: configuration, modelling, splicing, prompts, answers."""

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from diysink.model.assemble import Assembled, Parts, assemble
from diysink.model.chat import IGNORE, ChatEncoder, Encoded
from diysink.model.configuration import DIYSinkConfig
from diysink.model.conversion import from_llava
from diysink.model.generation import AnswerGenerator, GeneratedAnswers, load
from diysink.model.lengths import positions, training_length
from diysink.model.modeling import DIYSinkForConditionalGeneration, DIYSinkModel
from diysink.model.multiple_choice import CachedScorer, PromptScorer
from diysink.model.prefix import Prefix
from diysink.model.processing import DIYSinkProcessor
from diysink.model.selections import SELECTIONS, selections_of
from diysink.model.splice import Spliced, Visual, splice
from diysink.model.untouched import untouched

AutoConfig.register("diysink", DIYSinkConfig, exist_ok=True)
AutoModelForImageTextToText.register(DIYSinkConfig, DIYSinkForConditionalGeneration, exist_ok=True)
AutoProcessor.register(DIYSinkConfig, DIYSinkProcessor, exist_ok=True)

__all__ = [
    "IGNORE",
    "SELECTIONS",
    "AnswerGenerator",
    "Assembled",
    "CachedScorer",
    "ChatEncoder",
    "DIYSinkConfig",
    "DIYSinkForConditionalGeneration",
    "DIYSinkModel",
    "DIYSinkProcessor",
    "Encoded",
    "GeneratedAnswers",
    "Parts",
    "Prefix",
    "PromptScorer",
    "Spliced",
    "Visual",
    "assemble",
    "from_llava",
    "load",
    "positions",
    "selections_of",
    "splice",
    "training_length",
    "untouched",
]
