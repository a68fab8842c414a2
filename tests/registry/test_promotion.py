"""Who is in charge: by figures, on record, and back again."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from diysink.registry import (
    CHALLENGER,
    CHAMPION,
    ItemsDifferError,
    decisions,
    promote,
    rollback,
)
from diysink.registry.decisions import record
from diysink.registry.state import state
from diysink.resampling import Bootstrap
from tests.registry.conftest import NAME, answers

Version = Callable[[pd.DataFrame], int]


def champion() -> int | None:
    return state(NAME).version(CHAMPION)


def test_the_first_challenger_is_put_in_charge(version: Version) -> None:
    first = version(answers(0.5))
    made = promote(NAME, margin=0.02, bootstrap=Bootstrap(200))
    assert (made.action, made.champion, made.before) == ("first", first, None)
    assert champion() == first


def test_a_better_challenger_replaces_the_champion(version: Version) -> None:
    version(answers(0.5))
    promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    better = version(answers(0.6))
    made = promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    assert (made.action, made.champion, made.before) == ("promote", better, 1)
    assert made.figures is not None
    assert made.figures["difference"] == pytest.approx(0.1)
    assert "better" in made.reason
    assert "+10.0 points" in made.reason
    assert champion() == better


def test_a_worse_challenger_is_refused_with_the_figures(version: Version) -> None:
    version(answers(0.6))
    promote(NAME, margin=0.02, bootstrap=Bootstrap(200))
    worse = version(answers(0.5))
    made = promote(NAME, margin=0.02, bootstrap=Bootstrap(200))
    assert (made.action, made.champion, made.challenger) == ("refuse", 1, worse)
    assert "-10.0 points" in made.reason
    assert made.figures is not None
    assert made.figures["margin"] == 0.02
    assert champion() == 1
    tag = MlflowClient().get_model_version(NAME, str(worse)).tags["decision"]
    assert tag.startswith("refuse: ")


def test_an_equal_challenger_needs_a_margin(version: Version) -> None:
    version(answers(0.6))
    promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    equal = version(answers(0.6))
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).action == "refuse"
    assert promote(NAME, margin=0.01, bootstrap=Bootstrap(200)).champion == equal


def test_the_champion_does_not_challenge_itself(version: Version) -> None:
    version(answers(0.6))
    promote(NAME, margin=0.0)
    assert promote(NAME, margin=0.0).action == "keep"
    assert champion() == 1


def test_other_items_are_no_ground_for_a_decision(version: Version) -> None:
    version(answers(0.6))
    promote(NAME, margin=0.0)
    version(answers(0.9).assign(image="other"))
    with pytest.raises(ItemsDifferError):
        promote(NAME, margin=0.0)
    assert champion() == 1
    assert len(decisions(NAME)) == 1


def test_rollback_goes_back_one_at_a_time_and_not_past_the_first(version: Version) -> None:
    for share in (0.5, 0.6, 0.7):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    assert champion() == 3
    assert rollback(NAME).champion == 2
    assert rollback(NAME).champion == 1
    with pytest.raises(LookupError, match="nothing to roll back to"):
        rollback(NAME)
    assert champion() == 1
    again = promote(NAME, margin=0.0, bootstrap=Bootstrap(200), version=3, despite_rollback=True)
    assert again.champion == 3
    assert rollback(NAME).champion == 1
    numbers = [made.number for made in decisions(NAME)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_rollback_goes_through_a_version_that_was_in_charge_twice(version: Version) -> None:
    for share in (0.5, 0.6):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    MlflowClient().set_registered_model_alias(NAME, CHAMPION, "1")
    version(answers(0.7))
    promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    assert [rollback(NAME).champion for _ in range(3)] == [1, 2, 1]


def test_rollback_passes_over_a_deleted_version(version: Version) -> None:
    for share in (0.5, 0.6, 0.7):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    MlflowClient().delete_model_version(NAME, "2")
    assert rollback(NAME).champion == 1


def test_every_decision_is_on_record(version: Version) -> None:
    version(answers(0.6))
    promote(NAME, margin=0.0)
    version(answers(0.5))
    promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    first, second = decisions(NAME)
    assert (first.action, second.action) == ("first", "refuse")
    assert first.time <= second.time


def test_a_decision_killed_before_its_move_is_carried_out(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    version(answers(0.5))
    promote(NAME, margin=0.0)
    version(answers(0.6))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    assert champion() == 1
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).action == "keep"
    assert champion() == 2
    assert rollback(NAME).champion == 1


def test_an_alias_moved_by_hand_is_written_down_and_respected(version: Version) -> None:
    for share in (0.5, 0.6, 0.55):
        version(answers(share))
        if share < 0.55:
            promote(NAME, margin=0.0)
    MlflowClient().set_registered_model_alias(NAME, CHAMPION, "2")
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).before == 2
    actions = [made.action for made in decisions(NAME)]
    assert actions == ["first", "moved by hand", "refuse"]
    assert rollback(NAME).champion == 1


def test_a_deleted_champion_makes_room_for_a_first(version: Version) -> None:
    version(answers(0.9))
    promote(NAME, margin=0.0)
    MlflowClient().delete_model_version(NAME, "1")
    version(answers(0.5))
    assert promote(NAME, margin=0.0).action == "first"


def test_without_a_challenger_there_is_nothing_to_decide(tracking: Path) -> None:
    with pytest.raises(LookupError, match="kedro run"):
        promote("never-registered", margin=0.0)
    with pytest.raises(LookupError, match="nothing to roll back to"):
        rollback("never-registered")


@pytest.mark.parametrize("margin", [-0.01, 1.0, 2.0, float("nan")])
def test_a_margin_is_a_share(margin: float) -> None:
    with pytest.raises(ValueError, match=r"expected a share in \[0, 1\)"):
        promote(NAME, margin=margin)


def test_the_record_outlives_its_alias(version: Version) -> None:
    """Tags hold what aliases forget: who was in charge before."""
    version(answers(0.5))
    record(NAME, "first", champion=1, before=None, challenger=1, reason="x" * 5000)
    MlflowClient().delete_registered_model_alias(NAME, CHAMPION)
    assert decisions(NAME)[0].reason == "x" * 5000
    assert state(NAME).version(CHALLENGER) == 1
