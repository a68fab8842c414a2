"""DIYSink as a Hugging Face model: configuration, modelling, splicing, prompts, answers."""

from transformers import AutoConfig, AutoModelForImageTextToText

from diysink.model.answer import Answerer, Answers, load
from diysink.model.assemble import Assembled, Parts, assemble
from diysink.model.configuration import DIYSinkConfig
from diysink.model.modeling import DIYSinkForConditionalGeneration, DIYSinkModel
from diysink.model.poll import CachedScorer, PromptScorer
from diysink.model.prefix import Prefix
from diysink.model.prompt import IGNORE, Encoded, Prompter
from diysink.model.splice import Spliced, Visual, splice

AutoConfig.register("diysink", DIYSinkConfig, exist_ok=True)
AutoModelForImageTextToText.register(DIYSinkConfig, DIYSinkForConditionalGeneration, exist_ok=True)

__all__ = [
    "IGNORE",
    "Answerer",
    "Answers",
    "Assembled",
    "CachedScorer",
    "DIYSinkConfig",
    "DIYSinkForConditionalGeneration",
    "DIYSinkModel",
    "Encoded",
    "Parts",
    "Prefix",
    "PromptScorer",
    "Prompter",
    "Spliced",
    "Visual",
    "assemble",
    "load",
    "splice",
]
