"""Two models on the same items: the difference, its interval, and what that allows."""

from dataclasses import asdict, dataclass

import pandas as pd

from diysink.evaluation import comparisons
from diysink.resampling import Bootstrap

ITEM = ("id", "image", "question", "reference")  # what makes two rows the same item


class ItemsDifferError(ValueError):
    """Two models were not asked the same questions about the same images."""


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion, in shares of 1, over paired items.

    ``low`` and ``high`` bound the difference (paired bootstrap over images, at ``level``);
    ``p`` is of the exact paired test over images. Both models are compared as they are: nothing is
    said of other trainings.
    """

    challenger: float
    champion: float
    difference: float
    low: float
    high: float
    level: float
    p: float
    n_items: int
    n_images: int

    def allows(self, margin: float) -> bool:
        """Better (margin 0) or not worse by ``margin``: the interval lies above ``-margin``."""
        return self.low > -margin

    def words(self) -> str:
        """The figures in one line."""
        return (
            f"challenger {_percent(self.challenger)}, champion {_percent(self.champion)}: "
            f"{100 * self.difference:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}] "
            f"at {100 * self.level:g} %, p = {self.p:.2g}, {self.n_items} items of "
            f"{self.n_images} images"
        )

    def figures(self) -> dict[str, float]:
        """As a JSON object."""
        return asdict(self)


def compare(
    challenger: pd.DataFrame,
    champion: pd.DataFrame,
    *,
    bootstrap: Bootstrap,
) -> Comparison:
    """Compare two models' predictions on the same items.

    Args:
        challenger: rows of the predictions table, one an item.
        champion: likewise, in any order.
        bootstrap: over images; makes the intervals.

    Raises:
        ItemsDifferError: an item (id, image, question, reference) is in one table only.
        ValueError: an item is in a table twice.
    """
    keys = [_items(challenger, "challenger"), _items(champion, "champion")]
    only = [keys[0].difference(keys[1]), keys[1].difference(keys[0])]
    if len(only[0]) or len(only[1]):
        example = next(iter(only[0] if len(only[0]) else only[1]))
        raise ItemsDifferError(
            f"the challenger answered {len(keys[0])} items and the champion {len(keys[1])}, of "
            f"which {len(keys[0].intersection(keys[1]))} are the same; e.g. {example[0]!r} "
            f"({example[2]!r}) is in one only. Models are compared on the same items: evaluate "
            "both on one test set, and register the champion's model again from that run."
        )
    both = pd.concat(
        [
            challenger.assign(variant="challenger", model="challenger", seed=0),
            champion.assign(variant="champion", model="champion", seed=0),
        ],
        ignore_index=True,
    )
    table = comparisons(both, [("challenger", "champion")], bootstrap=bootstrap)
    row = table[table["group"] == "all"].iloc[0]
    return Comparison(
        challenger=float(challenger["correct"].mean()),
        champion=float(champion["correct"].mean()),
        difference=float(row["difference"]),
        low=float(row["low"]),
        high=float(row["high"]),
        level=bootstrap.level,
        p=float(row["p"]),
        n_items=int(row["n_items"]),
        n_images=int(row["n_images"]),
    )


def _items(predictions: pd.DataFrame, whose: str) -> pd.MultiIndex:
    items = pd.MultiIndex.from_frame(predictions[list(ITEM)])
    if items.has_duplicates:
        raise ValueError(
            f"the {whose}'s predictions hold item {items[items.duplicated()][0][0]!r} more than "
            "once; expected the rows of one variant and one seed"
        )
    return items


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
