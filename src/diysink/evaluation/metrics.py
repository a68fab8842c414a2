"""When an answer counts as right."""

import re
import unicodedata

_SPACES = re.compile(r"\s+")
_FINAL = ".,;:!?。"


def normalize(answer: str) -> str:
    """What of an answer is compared: Unicode NFKC, lower case, single spaces, no final punctuation.

    Only punctuation at the very end goes; "3.5" and "t-shirt" keep theirs.

    >>> normalize("  Dark  GREEN. ")
    'dark green'
    """
    text = _SPACES.sub(" ", unicodedata.normalize("NFKC", answer)).strip().lower()
    return text.rstrip(_FINAL).rstrip()


def exact_match(prediction: str, reference: str) -> bool:
    """Whether the two are the same after :func:`normalize`.

    The whole answer counts: "the circle is red" does not match "red".

    >>> exact_match("Red.", "red"), exact_match("the circle is red", "red")
    (True, False)
    """
    return normalize(prediction) == normalize(reference)
