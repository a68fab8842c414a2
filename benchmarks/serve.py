"""Does a served package answer everybody, rightly, and refuse what is wrong at once?

Promotes a package of the miniature (its connector and R untrained, from a seed), starts `mlflow
models serve` on 127.0.0.1, and sends mixed requests from a few clients at once: good ones in every
form that MLflow has, and bad ones of every kind. Each status, answer and named row is held against
what the package says in this process. Before the crowd, one of each kind is asked alone: how long
it takes where it waits for nobody, and the server's processor time. The server is stopped however
the run ends; the exit code is 1 if a request was lost or answered wrongly.

    python -m benchmarks.serve [--requests 1000] [--clients 4] [--seed 0] [--out FILE]
"""

import argparse
import os
import platform
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.robustness.result import tell
from benchmarks.serving.requests import BAD, FORMS, SLOW, Reply, Request, bad, good
from benchmarks.serving.server import Server, ask, promote, questions, serving

SIZES = (1, 1, 1, 2, 5, 33)  # rows of a good request; 33 are two batches


def mixed(count: int, rows: pd.DataFrame, rng: np.random.Generator) -> list[Request]:
    """Six good ones in ten, in all forms; of the bad ones, one in thirty has 30 MB."""
    quick, slow = [kind for kind in BAD if kind not in SLOW], sorted(SLOW)
    forms = list(FORMS)
    made = []
    for number in range(count):
        if number % 5 < 3:
            some = rows.sample(int(rng.choice(SIZES)), random_state=rng)
            made.append(good(forms[int(rng.integers(len(forms)))], some))
        else:
            kinds = slow if number % 75 == 4 else quick
            made.append(bad(kinds[int(rng.integers(len(kinds)))], rows, rng))
    return [made[i] for i in rng.permutation(count)]


def one_of_each(rows: pd.DataFrame, rng: np.random.Generator) -> list[Request]:
    """A single good row in every form, and every kind of bad request."""
    return [*(good(form, rows.head(1)) for form in FORMS), *(bad(kind, rows, rng) for kind in BAD)]


def ask_alone(server: Server, requests: Sequence[Request]) -> tuple[list[Reply], dict[str, Any]]:
    """One after the other: the replies, and of each kind its status, time and processor time."""
    replies, found = [], {}
    for request in requests:
        before = server.cpu_seconds()
        replies.append(ask(server.port, request))
        found[request.kind] = {
            "status": replies[-1].status,
            "ms": round(1000 * replies[-1].seconds, 1),
            "cpu_ms": round(1000 * (server.cpu_seconds() - before)),
        }
    return replies, found


def send(port: int, requests: Sequence[Request], clients: int, seconds: float) -> list[Reply]:
    """All of them, by clients that wait for each reply before they ask again.

    Raises:
        TimeoutError: not all were sent in that many seconds.
    """
    end = time.monotonic() + seconds

    def one(request: Request) -> Reply:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(requests)} requests take more than {seconds:.0f} s")
        return ask(port, request)

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, requests))


def faults(requests: Sequence[Request], replies: Sequence[Reply]) -> list[str]:
    """What was not answered as it had to be."""
    pairs = zip(requests, replies, strict=True)
    return [f"{asked.kind}: {fault}" for asked, got in pairs if (fault := asked.fault(got))]


def by_kind(requests: Sequence[Request], replies: Sequence[Reply]) -> dict[str, Any]:
    """Of each kind of request: how many replies of each status, and their latency."""
    of_kind: dict[str, list[Reply]] = {}
    for request, reply in zip(requests, replies, strict=True):
        of_kind.setdefault(request.kind, []).append(reply)
    return {
        kind: {"statuses": statuses(of)} | milliseconds(of) for kind, of in sorted(of_kind.items())
    }


def statuses(replies: Sequence[Reply]) -> dict[str, int]:
    """How many replies of each status."""
    return dict(sorted(Counter(str(reply.status) for reply in replies).items()))


def milliseconds(replies: Sequence[Reply]) -> dict[str, float]:
    """Median, 99th percentile and longest."""
    values = 1000 * np.array([reply.seconds for reply in replies])
    found = {"median_ms": np.median(values), "p99_ms": np.quantile(values, 0.99)}
    return {name: round(float(value), 1) for name, value in found.items()} | {
        "longest_ms": round(float(values.max()), 1)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=400, help="to send them, at most")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    torch.manual_seed(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tracking, rows = promote(folder, questions(64, rng))
        first, crowd = one_of_each(rows, rng), mixed(args.requests, rows, rng)
        last = good("dataframe_records", rows)
        with serving(tracking, folder / "server.log") as server:
            ask(server.port, last)  # what is slow once
            alone, found_alone = ask_alone(server, first)
            start = time.perf_counter()
            replies = send(server.port, crowd, args.clients, args.seconds)
            seconds = time.perf_counter() - start
            after = ask(server.port, last)
    found = faults([*first, *crowd, last], [*alone, *replies, after])
    bad_ones = [got for asked, got in zip(crowd, replies, strict=True) if asked.status != 200]
    result = {
        "requests": len(crowd),
        "replies": len(replies),
        "clients": args.clients,
        "seed": args.seed,
        "faults": found[:20],
        "statuses": statuses(replies),
        "rows_answered": sum(len(request.answers) for request in crowd),
        "different_answers": len({str(answer) for answer in rows["answer"]}),
        "seconds": round(seconds, 1),
        "start_seconds": round(server.start_seconds, 1),
        "bad_ones": milliseconds(bad_ones),
        "alone": found_alone,
        "crowd": by_kind(crowd, replies),
        "recorded": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            name: version(name) for name in ("mlflow", "uvicorn", "torch", "transformers")
        },
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[1], 1),
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} processors",
    }
    return tell(result, found, args.out)


if __name__ == "__main__":
    raise SystemExit(main())
