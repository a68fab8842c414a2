"""Random-matched tokens, under the analyses' name: see `diysink.sinks.random_matched`."""

from diysink.sinks.random_matched import random_matched_tokens

__all__ = ["random_matched_tokens"]
