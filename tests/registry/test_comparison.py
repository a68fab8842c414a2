"""Two models on the same items: what is compared, what is refused, and what the figures allow."""

import numpy as np
import pandas as pd
import pytest

from diysink.registry import Comparison, ItemsDifferError, compare
from diysink.resampling import Bootstrap
from tests.registry.conftest import answers, predictions


def test_worked_by_hand() -> None:
    """Eight items of four images; the challenger gains on 4 items, which lie on 3 images."""
    challenger = predictions(np.array([1, 1, 1, 1, 1, 1, 1, 0]))
    champion = predictions(np.array([1, 1, 1, 0, 0, 0, 0, 0]))
    found = compare(challenger, champion, bootstrap=Bootstrap(500))
    assert (found.challenger, found.champion) == (7 / 8, 3 / 8)
    assert found.difference == pytest.approx(0.5)
    assert found.p == pytest.approx(2 * 0.5**3)  # three of three images, two-sided
    assert (found.n_items, found.n_images) == (8, 4)
    assert found.low <= found.difference <= found.high


def test_the_order_of_the_rows_does_not_matter() -> None:
    challenger, champion = answers(0.8), answers(0.7)
    shuffled = champion.sample(frac=1, random_state=1)
    assert compare(challenger, champion, bootstrap=Bootstrap(200)) == compare(
        challenger, shuffled, bootstrap=Bootstrap(200)
    )


def test_equal_models_do_not_differ() -> None:
    found = compare(answers(0.8), answers(0.8), bootstrap=Bootstrap(200))
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


@pytest.mark.parametrize("column", ["id", "image", "question", "reference"])
def test_other_items_are_an_error(column: str) -> None:
    champion = answers(0.7)
    champion.loc[5, column] = "other"
    with pytest.raises(ItemsDifferError, match="of which 399 are the same"):
        compare(answers(0.8), champion, bootstrap=Bootstrap(20))


def test_fewer_items_are_an_error() -> None:
    with pytest.raises(ItemsDifferError, match="the champion 399"):
        compare(answers(0.8), answers(0.7).iloc[1:], bootstrap=Bootstrap(20))


def test_an_item_twice_is_an_error() -> None:
    twice = pd.concat([answers(0.8), answers(0.8).iloc[:1]])
    with pytest.raises(ValueError, match="'item-0' more than once"):
        compare(twice, answers(0.7), bootstrap=Bootstrap(20))


@pytest.mark.parametrize(
    ("low", "margin", "allowed"),
    [
        (0.001, 0.0, True),
        (0.0, 0.0, False),  # equal is not better
        (0.0, 0.02, True),
        (-0.019, 0.02, True),
        (-0.02, 0.02, False),
        (-0.3, 0.02, False),
    ],
)
def test_the_lower_end_of_the_interval_decides(low: float, margin: float, allowed: bool) -> None:
    found = Comparison(0.8, 0.8, 0.0, low, 0.05, 0.95, 1.0, 400, 200)
    assert found.allows(margin) is allowed
