"""The rule by which CoT routes (arXiv 2510.08510), in words alone.

It needs neither a model nor torch: selections follow it, and evaluations hold routes against it.
"""

SCOPE_OF: dict[str | None, str] = {"global": "whole", "local": "detail", "mixed": "both"}
"""What a question of a known group needs."""
_ROUTES = {("simple", "whole"): "sink", ("complex", "detail"): "nonsink"}


def cot_route(image: str | None, scope: str | None) -> str:
    """The route for an image (simple or complex) and a question (whole, detail or both).

    >>> cot_route("simple", "whole"), cot_route("complex", "detail"), cot_route("simple", "detail")
    ('sink', 'nonsink', 'both')
    """
    return _ROUTES.get((image or "", scope or ""), "both")
