"""What a registry holds is tried before it is trusted; what cannot be used is named."""

import json
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from diysink.registry import (
    CHAMPION,
    BrokenRecordError,
    RegistryUnreachableError,
    UnusableVersionError,
    challenge,
    check_model_name,
    decisions,
    find_version,
    promote,
    registered_version,
    rollback,
    usable_version,
)
from diysink.registry.state import state
from diysink.resampling import Bootstrap
from tests.registry.conftest import NAME, answers, files

Version = Callable[..., int]


def champion() -> int | None:
    return state(NAME).version(CHAMPION)


def delete_files(number: int) -> None:
    shutil.rmtree(files(number))


def break_code(number: int) -> None:
    (files(number) / "toy.py").write_text("raise RuntimeError('broken')")


def break_answers(number: int) -> None:
    code = files(number) / "toy.py"
    code.write_text(code.read_text().replace("return pd", "return None and pd"))


def delete_predictions(number: int) -> None:
    (files(number) / "artifacts" / "predictions.parquet").unlink()


def break_predictions(number: int) -> None:
    (files(number) / "artifacts" / "predictions.parquet").write_bytes(b"PAR1, but no parquet")


def other_predictions(number: int) -> None:
    path = files(number) / "artifacts" / "predictions.parquet"
    pd.read_parquet(path).drop(columns="correct").to_parquet(path)


def delete_example(number: int) -> None:
    (files(number) / "input_example.json").unlink()


FAULTS = [
    delete_files,
    break_code,
    break_answers,
    delete_predictions,
    break_predictions,
    other_predictions,
    delete_example,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_first_champion_that_cannot_be_used_is_refused(version: Version, fault: object) -> None:
    fault(version(answers(0.5)))
    with pytest.raises(UnusableVersionError, match="version 1 of the registered model") as caught:
        promote(NAME, margin=0.0)
    assert (caught.value.name, caught.value.version) == (NAME, 1)
    assert champion() is None
    assert decisions(NAME) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_better_challenger_that_cannot_be_used_is_refused(
    version: Version, fault: object
) -> None:
    version(answers(0.5))
    promote(NAME, margin=0.0)
    fault(version(answers(0.6)))
    with pytest.raises(UnusableVersionError) as caught:
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    assert caught.value.version == 2
    assert champion() == 1
    assert len(decisions(NAME)) == 1


@pytest.mark.parametrize("fault", [delete_files, break_code])
def test_a_champion_that_no_longer_works_is_not_kept(version: Version, fault: object) -> None:
    version(answers(0.5))
    promote(NAME, margin=0.0)
    fault(1)
    with pytest.raises(UnusableVersionError):
        promote(NAME, margin=0.0)
    assert len(decisions(NAME)) == 1


def test_a_champion_without_predictions_is_named_and_can_be_rolled_back(version: Version) -> None:
    for share in (0.5, 0.6):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    delete_files(2)
    version(answers(0.7))
    with pytest.raises(UnusableVersionError, match="rollback=true") as caught:
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    assert caught.value.version == 2
    assert rollback(NAME).champion == 1
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).champion == 3


def test_rollback_passes_over_what_does_not_work(version: Version) -> None:
    for share in (0.5, 0.6, 0.7):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    delete_files(2)
    made = rollback(NAME)
    assert (made.champion, made.before) == (1, 3)
    assert "version 2 (its model does not load" in made.reason


def test_rollback_says_where_nothing_before_works(version: Version) -> None:
    for share in (0.5, 0.6, 0.7):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    delete_files(1)
    MlflowClient().delete_model_version(NAME, "2")
    with pytest.raises(LookupError, match="version 2 \\(deleted\\), version 1 \\(its model"):
        rollback(NAME)
    assert champion() == 3
    assert len(decisions(NAME)) == 3


def test_rollback_is_never_to_the_version_in_charge(version: Version) -> None:
    """A hand-moved alias and a deleted version between two turns of one version."""
    for share in (0.5, 0.6, 0.7):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    client = MlflowClient()
    client.set_registered_model_alias(NAME, CHAMPION, "2")
    promote(NAME, margin=0.5, version=2)  # writes the move down
    client.set_registered_model_alias(NAME, CHAMPION, "3")
    promote(NAME, margin=0.5, version=3)
    client.delete_model_version(NAME, "2")
    made = rollback(NAME)
    assert (made.before, made.champion) == (3, 1)
    with pytest.raises(LookupError, match="nothing to roll back to"):
        rollback(NAME)
    assert champion() == 1


def test_rollback_of_a_champion_that_was_deleted(version: Version) -> None:
    for share in (0.5, 0.6):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    MlflowClient().delete_model_version(NAME, "2")
    made = rollback(NAME)
    assert (made.before, made.champion) == (None, 1)
    assert champion() == 1


def test_a_champion_set_by_hand_before_the_first_decision_is_known(version: Version) -> None:
    version(answers(0.5))
    MlflowClient().set_registered_model_alias(NAME, CHAMPION, "1")
    version(answers(0.6))
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).before == 1
    assert rollback(NAME).champion == 1


def test_a_rolled_back_version_stays_back(version: Version) -> None:
    for share in (0.5, 0.6):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    rollback(NAME)
    for _ in range(2):
        made = promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
        assert (made.action, made.champion, made.challenger) == ("refuse", 1, 2)
        assert "promote.version=2" in made.reason
        assert made.figures is None
    named = promote(NAME, margin=0.0, bootstrap=Bootstrap(200), version=2, despite_rollback=True)
    assert (named.action, named.champion) == ("promote", 2)


def test_after_a_rollback_a_new_version_is_judged_as_ever(version: Version) -> None:
    for share in (0.5, 0.6):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    rollback(NAME)
    version(answers(0.4))
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).figures is not None
    version(answers(0.7))
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).champion == 4


def test_two_rollbacks_hold_back_both(version: Version) -> None:
    for share in (0.5, 0.6, 0.7):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    rollback(NAME)
    rollback(NAME)
    for held in (3, 2, 3):
        made = promote(NAME, margin=0.0, bootstrap=Bootstrap(200), version=held)
        assert (made.action, made.champion) == ("refuse", 1)
    new = version(answers(0.4))
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200), version=new).action == "refuse"
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200), version=3).action == "promote"


def test_a_rolled_back_version_is_not_put_back_as_the_first(version: Version) -> None:
    for share in (0.5, 0.6):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    rollback(NAME)
    MlflowClient().delete_model_version(NAME, "1")
    made = promote(NAME, margin=0.0)
    assert (made.action, made.champion) == ("refuse", None)
    assert promote(NAME, margin=0.0, version=2, despite_rollback=True).action == "first"


def test_a_named_version_is_judged_and_becomes_the_challenger(version: Version) -> None:
    for share in (0.5, 0.6, 0.4):
        version(answers(share))
    promote(NAME, margin=0.0, version=1)
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200), version=2).champion == 2
    assert state(NAME).version("challenger") == 2


@pytest.mark.parametrize("named", [4, 99])
def test_a_version_that_is_not_there_is_an_error(version: Version, named: int) -> None:
    for share in (0.5, 0.6, 0.7, 0.8):
        version(answers(share))
    MlflowClient().delete_model_version(NAME, "4")
    with pytest.raises(LookupError, match="there are: 1, 2, 3"):
        promote(NAME, margin=0.0, version=named)
    with pytest.raises(LookupError, match="there are: 1, 2, 3"):
        challenge(NAME, named)


def test_a_challenger_that_was_deleted_is_none(version: Version) -> None:
    version(answers(0.5))
    MlflowClient().delete_model_version(NAME, "1")
    with pytest.raises(LookupError, match="kedro run"):
        promote(NAME, margin=0.0)


def test_a_registered_model_that_was_deleted_is_none(version: Version) -> None:
    version(answers(0.5))
    promote(NAME, margin=0.0)
    MlflowClient().delete_registered_model(NAME)
    with pytest.raises(LookupError, match="kedro run"):
        promote(NAME, margin=0.0)
    with pytest.raises(LookupError, match="nothing to roll back to"):
        rollback(NAME)
    assert decisions(NAME) == []


def test_a_version_deleted_while_it_is_put_in_charge(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    version(answers(0.5))
    promote(NAME, margin=0.0)
    version(answers(0.6))
    module = sys.modules["diysink.registry.decisions"]
    real = module._set_tag

    def deleting(name: str, tag: str, value: str) -> None:
        real(name, tag, value)
        MlflowClient().delete_model_version(NAME, "2")

    monkeypatch.setattr(module, "_set_tag", deleting)
    with pytest.raises(LookupError, match="was deleted while it was decided about"):
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    monkeypatch.undo()
    assert champion() == 1
    assert len(decisions(NAME)) == 1


def test_killed_before_the_move_and_then_deleted(
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
    MlflowClient().delete_model_version(NAME, "2")
    version(answers(0.4))
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).champion == 1
    assert champion() == 1


def broken(**fields: object) -> str:
    made = {
        "number": 1, "action": "first", "champion": 1, "before": None, "challenger": 1,
        "reason": "r", "figures": None, "time": "t", "run_id": None,
    }  # fmt: skip
    return json.dumps({**made, **fields})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        broken(extra=1),
        broken(champion="1"),
        broken(number=0),
        broken(number=True),
        broken(action="crown"),
        broken(time=None),
    ],
    ids=lambda text: text[:12] or "empty",
)
def test_a_decision_changed_by_hand_is_named(version: Version, text: str) -> None:
    version(answers(0.5))
    promote(NAME, margin=0.0)
    client = MlflowClient()
    tags = client.get_registered_model(NAME).tags
    tag = next(tag for tag in tags if tag.startswith("decision."))
    client.set_registered_model_tag(NAME, tag, text)
    for act in (decisions, rollback, lambda name: promote(name, margin=0.0)):
        with pytest.raises(BrokenRecordError, match=tag):
            act(NAME)
    client.delete_registered_model_tag(NAME, tag)
    assert decisions(NAME) == []


def test_other_tags_are_not_ours(version: Version) -> None:
    version(answers(0.5))
    MlflowClient().set_registered_model_tag(NAME, "decision.note", "ask Ann first")
    assert promote(NAME, margin=0.0).action == "first"
    assert len(decisions(NAME)) == 1


def test_the_newest_version_of_a_package_that_works(version: Version) -> None:
    for digest in ("x", "y", "x", "x"):
        version(answers(0.5), digest)
    assert usable_version(NAME, "x") == find_version(NAME, "x") == 4
    delete_files(4)
    assert usable_version(NAME, "x") == 3
    delete_predictions(3)
    assert usable_version(NAME, "x") == 1
    break_code(1)
    assert usable_version(NAME, "x") is None
    assert find_version(NAME, "x") == 4


def test_a_registration_is_found_by_its_number_or_its_digest(version: Version) -> None:
    for digest in ("x", "y", "x"):
        version(answers(0.5), digest)
    assert registered_version(NAME, 1, "x") == 1
    assert registered_version(NAME, 2, "x") == 3
    assert registered_version(NAME, 99, "y") == 2
    with pytest.raises(LookupError, match="pipelines register"):
        registered_version(NAME, 1, "z")
    with pytest.raises(LookupError, match="pipelines register"):
        registered_version("elsewhere", 1, "x")


@pytest.mark.parametrize(
    "name", ["", " ", "a/b", "a:b", "..", "it's", " a", "a ", "a\n", "a'b", "x" * 201]
)
def test_a_name_that_mlflow_does_not_take_is_an_error(tracking: Path, name: object) -> None:
    for act in (check_model_name, rollback, decisions, lambda name: find_version(name, "d")):
        with pytest.raises(ValueError, match="cannot be the name of a registered model"):
            act(name)


@pytest.mark.parametrize("name", [2024, None, True, ["a"]])
def test_a_name_is_text(name: object) -> None:
    with pytest.raises(ValueError, match="in YAML, quote it"):
        check_model_name(name)


@pytest.mark.parametrize("name", ["diysink", "a.b.c", "2024-run_1", "my model", "Größe"])
def test_names_that_mlflow_takes(name: str) -> None:
    assert check_model_name(name) == name


def test_a_server_that_is_not_there_is_named(tracking: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        mlflow.set_tracking_uri(f"http://127.0.0.1:{port}")
        start = time.monotonic()
        with pytest.raises(RegistryUnreachableError, match=f"127.0.0.1:{port} cannot be reached"):
            promote(NAME, margin=0.0)
        assert time.monotonic() - start < 20  # MLflow alone tries for minutes


def test_a_database_that_is_none_is_named(tracking: Path) -> None:
    bad = tracking / "bad.db"
    bad.write_bytes(b"no database, though as long as a page of one" * 100)
    mlflow.set_tracking_uri(f"sqlite:///{bad}")
    for act in (decisions, rollback):
        with pytest.raises(RegistryUnreachableError, match=r"bad\.db cannot be reached"):
            act(NAME)


def test_a_check_leaves_the_search_path_as_it_was(version: Version) -> None:
    version(answers(0.5))
    before = list(sys.path)
    promote(NAME, margin=0.0)
    assert sys.path == before
