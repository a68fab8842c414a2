"""Several processes decide about one model at once: nothing is lost, and record and alias agree."""

import itertools
import json
import multiprocessing
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from diysink.registry import CHAMPION, deciding, decisions, promote, register, rollback
from diysink.registry.decisions import record
from diysink.registry.lock import lock_path
from diysink.registry.state import state
from diysink.resampling import Bootstrap
from tests.registry.conftest import NAME, answers, files

Version = Callable[[pd.DataFrame], int]
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.registry.conftest", "mlflow.pyfunc"])


def _decide(uri: str, source: str, which: int, rounds: int, results: Any) -> None:
    """Promote, register and roll back in turn; every decision that is returned, or the error."""
    mlflow.set_tracking_uri(uri)
    for turn in range(rounds):
        try:
            match (which + turn) % 3:
                case 0:
                    package: Any = SimpleNamespace(model_uri=source)
                    register(package, NAME, digest=f"{which}-{turn}", tags={})
                    made = promote(NAME, margin=0.5, bootstrap=Bootstrap(20))
                case 1:
                    made = promote(
                        NAME,
                        margin=0.5,
                        bootstrap=Bootstrap(20),
                        version=1 + (which * 7 + turn) % 4,
                        despite_rollback=True,
                    )
                case _:
                    made = rollback(NAME)
            results.put(made.to_json())
        except LookupError as error:  # nothing to roll back to
            results.put(f"none: {error}")
        except BaseException as error:
            results.put(f"error: {type(error).__name__}: {error}")


def test_four_processes_lose_no_decision(version: Version) -> None:
    for share in (0.5, 0.52, 0.54, 0.56):
        version(answers(share, n=40))
    promote(NAME, margin=0.5, bootstrap=Bootstrap(20))
    rounds, results = 3, _server.Queue()
    given = mlflow.get_tracking_uri(), str(files(1))
    processes = [
        _server.Process(target=_decide, args=(*given, which, rounds, results)) for which in range(4)
    ]
    for process in processes:
        process.start()
    said = [results.get(timeout=120) for _ in range(4 * rounds)]
    for process in processes:
        process.join()
    assert [text for text in said if isinstance(text, str) and text.startswith("error")] == []
    returned = [made for made in said if not isinstance(made, str)]
    kept = [made.to_json() for made in decisions(NAME)][1:]
    assert sorted(map(json.dumps, returned)) == sorted(map(json.dumps, kept))
    assert [made["number"] for made in kept] == list(range(2, len(kept) + 2))
    assert state(NAME).version(CHAMPION) == kept[-1]["champion"]
    assert len(MlflowClient().search_model_versions(f"name = '{NAME}'")) == 4 + 4 * rounds // 3
    for earlier, later in itertools.pairwise(kept):
        assert later["before"] == earlier["champion"]


def test_a_stale_keep_does_not_undo_a_rollback(version: Version) -> None:
    """As another machine would write it, which read the record before the rollback."""
    for share in (0.5, 0.6):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    assert rollback(NAME).champion == 1
    for action in ("keep", "refuse"):
        record(NAME, action, champion=2, before=2, challenger=2, reason="read before")
    version(answers(0.4))
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).champion == 1
    assert [made.action for made in decisions(NAME)][-3:] == ["keep", "refuse", "refuse"]


def test_two_machines_that_use_one_number_are_both_kept(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither sees the other's decision when it numbers its own."""
    for share in (0.5, 0.6, 0.7):
        version(answers(share))
    promote(NAME, margin=0.0, version=1)
    module = sys.modules["diysink.registry.decisions"]  # the package has a function of that name
    real, writing = module._set_tag, threading.Event()

    def also(name: str, tag: str, value: str) -> None:
        real(name, tag, value)
        if tag.startswith("decision.") and not writing.is_set():
            writing.set()
            other = json.loads(value) | {"champion": 3, "challenger": 3}
            number = f"{tag.partition('-')[0]}-ffffffff"
            MlflowClient().set_registered_model_tag(name, number, json.dumps(other))

    monkeypatch.setattr(module, "_set_tag", also)
    promote(NAME, margin=0.0, bootstrap=Bootstrap(200), version=2)
    assert [(made.number, made.champion) for made in decisions(NAME)] == [(1, 1), (2, 2), (2, 3)]
    assert state(NAME).version(CHAMPION) == 3  # the last in the order that every reader sees
    monkeypatch.undo()
    MlflowClient().set_registered_model_alias(NAME, CHAMPION, "2")  # the earlier one's move, late
    assert promote(NAME, margin=0.0, version=3).action == "keep"
    assert state(NAME).version(CHAMPION) == 3
    assert [made.action for made in decisions(NAME)][1:] == ["promote", "promote", "keep"]


def test_keys_are_unique_and_old_records_are_read(version: Version) -> None:
    for share in (0.5, 0.6, 0.7):
        version(answers(share))
    client = MlflowClient()
    old = {
        "before": None, "challenger": 1, "reason": "r", "figures": None, "run_id": None,
        "time": "2025-01-01T00:00:00+00:00",
    }  # fmt: skip
    first = {"number": 1, "action": "first", "champion": 1, **old}
    second = {"number": 2, "action": "promote", "champion": 2, **old, "before": 1}
    third = {"number": 3, "action": "refuse", "champion": 2, **old, "before": 2, "challenger": 3}
    for made in (first, second, third):
        client.set_registered_model_tag(NAME, f"decision.{made['number']:06d}", json.dumps(made))
    client.set_registered_model_tag(NAME, "carried_out", "3")
    client.set_registered_model_alias(NAME, CHAMPION, "2")
    assert rollback(NAME).champion == 1
    assert [made.number for made in decisions(NAME)] == [1, 2, 3, 4]
    tags = client.get_registered_model(NAME).tags
    assert sum(bool(re.fullmatch(r"decision\.000004-[0-9a-f]{8}", tag)) for tag in tags) == 1
    assert tags["carried_out"].startswith("000004-")


def test_an_old_decision_that_was_not_carried_out_is(version: Version) -> None:
    for share in (0.5, 0.6):
        version(answers(share))
        promote(NAME, margin=0.0, bootstrap=Bootstrap(200))
    client = MlflowClient()
    client.set_registered_model_alias(NAME, CHAMPION, "1")
    client.set_registered_model_tag(NAME, "carried_out", "1")
    version(answers(0.4))
    assert promote(NAME, margin=0.0, bootstrap=Bootstrap(200)).before == 2


def test_the_lock_lies_beside_the_database_and_is_one_a_model(tracking: Path) -> None:
    assert lock_path("a").parent == tracking
    assert lock_path("a") == lock_path("a") != lock_path("b")
    link = tracking.parent / "link"
    link.symlink_to(tracking)
    here = lock_path("a")
    mlflow.set_tracking_uri(f"sqlite:///{link}/mlflow.db")
    assert lock_path("a") == here


def test_the_lock_of_a_server_is_the_users_own(
    tracking: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    here = lock_path("a")
    assert here.parent.parent == tmp_path
    assert here.parent.stat().st_mode & 0o077 == 0
    mlflow.set_tracking_uri("http://127.0.0.1:10")
    assert lock_path("a") != here
    here.parent.rmdir()
    here.parent.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="belongs to somebody else"):
        lock_path("a")


def test_who_decides_is_alone_and_may_decide_again_inside(version: Version) -> None:
    version(answers(0.5))
    order: list[str] = []

    def other() -> None:
        with deciding(NAME):
            order.append("other")

    with deciding(NAME):
        thread = threading.Thread(target=other)
        thread.start()
        promote(NAME, margin=0.0)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]
    assert len(state(NAME).record) == 1
