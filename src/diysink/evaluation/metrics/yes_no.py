"""Questions that are answered with yes or no."""

from diysink.evaluation.item import Item


def truth(item: Item) -> str:
    """The reference, ``yes`` or ``no``.

    Raises:
        ValueError: it is something else.
    """
    reference = item.references[0].strip().lower()
    if reference not in ("yes", "no"):
        raise ValueError(
            f"the reference of item {item.id!r} is {item.references[0]!r}; expected yes or no"
        )
    return reference
