"""Errors for what a model cannot do or show. Their message is the reason, in one line."""


class UnsupportedModelError(ValueError):
    """The architecture is not in the tables, or it cannot show what is needed."""


class UnsupportedInterventionError(UnsupportedModelError):
    """The intervention cannot be done with this model, its attention or its cache."""
