"""DIYSink as a Hugging Face model: configuration, modelling, splicing, prompts, answers."""

from transformers import AutoConfig, AutoModelForImageTextToText

from diysink.model.answer import Answerer, choice_log_likelihoods, load
from diysink.model.assemble import Assembled, Parts, assemble
from diysink.model.configuration import DIYSinkConfig
from diysink.model.modeling import DIYSinkForConditionalGeneration, DIYSinkModel
from diysink.model.prompt import IGNORE, Encoded, Prompter
from diysink.model.splice import Spliced, splice

AutoConfig.register("diysink", DIYSinkConfig, exist_ok=True)
AutoModelForImageTextToText.register(DIYSinkConfig, DIYSinkForConditionalGeneration, exist_ok=True)

__all__ = [
    "IGNORE",
    "Answerer",
    "Assembled",
    "DIYSinkConfig",
    "DIYSinkForConditionalGeneration",
    "DIYSinkModel",
    "Encoded",
    "Parts",
    "Prompter",
    "Spliced",
    "assemble",
    "choice_log_likelihoods",
    "load",
    "splice",
]
