"""What a part's own model card says of it."""

from pathlib import Path

INDUCED = "vision encoder with INDUCED sinks"


def says_induced(encoder: str) -> bool:
    """Whether the encoder's own model card says that its sinks were induced.

    The card travels with the weights, so that no copy of them loses the warning. Asked is the
    title that :mod:`diysink.miniature.card` gives it: the word alone may stand in any card.
    """
    card = Path(encoder) / "README.md"
    return card.is_file() and INDUCED in card.read_text("utf-8", errors="replace")
