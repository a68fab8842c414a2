"""What differs between models: where their parts are, and what they cannot show."""

from diysink.architectures.errors import UnsupportedInterventionError, UnsupportedModelError

__all__ = ["UnsupportedInterventionError", "UnsupportedModelError"]
