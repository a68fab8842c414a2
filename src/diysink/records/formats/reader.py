"""What a reader is, and that of LLaVA's own format, which changes nothing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from diysink.records.rejection import BadItemError, Reason, excerpt

Item = dict[str, Any]


@dataclass(frozen=True)
class Reader:
    """How items of one schema become LLaVA's.

    Attributes:
        columns: what is read of an item; of parquet, nothing else is, but for whether columns of
            other media hold anything.
        required: columns without which a parquet file is of another schema.
        to_llava: an item and its place in the source, as an item of LLaVA's format. It may raise
            `BadItemError`; None: it is one already.
    """

    columns: tuple[str, ...]
    required: tuple[str, ...]
    to_llava: Callable[[Mapping[str, Any], int], Item] | None = None

    def __call__(self, item: object, index: int) -> object:
        """The item in LLaVA's format; what is no object is left to `check_item`.

        Keys that the reader does not know are kept, so that media under them are seen.
        """
        if self.to_llava is None or not isinstance(item, Mapping):
            return item
        rest = {key: value for key, value in item.items() if key not in self.columns}
        return rest | self.to_llava(item, index)


LLAVA = Reader(
    columns=("id", "image", "conversations", "group", "subtask"), required=("id", "conversations")
)


def texts(item: Mapping[str, Any], *names: str) -> list[str]:
    """The texts under some keys.

    Raises:
        BadItemError: one of them is absent or no text.
    """
    for name in names:
        if not isinstance(item.get(name), str):
            found = excerpt(item.get(name))
            raise BadItemError(Reason.WRONG_TYPE, f"{name} is {found}; expected a text")
    return [item[name] for name in names]


def dialogue(*said: str) -> list[dict[str, str]]:
    """Turns of human and gpt, one after the other."""
    return [
        {"from": ("human", "gpt")[number % 2], "value": text} for number, text in enumerate(said)
    ]
