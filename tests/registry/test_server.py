"""`mlflow models serve` itself, over HTTP: every form, what is bad, several clients at once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.serve import faults, send
from benchmarks.serving.requests import FORMS, bad, good
from benchmarks.serving.server import Server, ask, promote, questions, serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Operation with range is deprecated"),
]


@pytest.fixture(scope="module")
def champion(module_tracking: Path) -> tuple[str, pd.DataFrame]:
    """The registry of a promoted miniature, and questions with what must come back."""
    return promote(module_tracking, questions(12, np.random.default_rng(0)))


@pytest.fixture(scope="module")
def server(champion: tuple[str, pd.DataFrame]) -> Iterator[Server]:
    tracking, _ = champion
    with serving(tracking, Path(tracking.removeprefix("sqlite:///")).with_name("log")) as started:
        yield started


BAD = ("null question", "<image> in the question", "no image", "decompression bomb", "no JSON")


def test_nothing_is_lost_or_mixed(server: Server, champion: tuple[str, pd.DataFrame]) -> None:
    _, rows = champion
    assert len({str(answer) for answer in rows["answer"]}) == len(rows)  # a mix would be seen
    assert all(answer["sinks"] for answer in rows["answer"])
    rng = np.random.default_rng(0)
    requests = [
        good(form, rows.sample(size, random_state=rng)) for form in FORMS for size in (1, 4)
    ]
    requests += [bad(kind, rows, rng) for kind in BAD]
    requests = [requests[i] for i in rng.permutation(len(requests))]
    assert faults(requests, send(server.port, requests, clients=3, seconds=60)) == []


def test_another_answer_would_be_a_fault(
    server: Server, champion: tuple[str, pd.DataFrame]
) -> None:
    _, rows = champion
    right = good("csv", rows)
    wrong = good("csv", rows.assign(answer=rows["answer"].tolist()[::-1]))
    reply = ask(server.port, right)
    assert right.fault(reply) is None
    assert wrong.fault(reply) is not None
    assert bad("null image", rows, np.random.default_rng(0)).fault(reply) is not None
