"""A promoted package of the miniature, and `mlflow models serve` of it, on 127.0.0.1 alone."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch

from benchmarks.serving.requests import Reply, Request
from diysink.encoders import load_encoder, load_image_processor
from diysink.miniature import weights
from diysink.miniature.dialogue import ask_in_group
from diysink.miniature.world import render, sample_scene
from diysink.model import Parts, assemble
from diysink.records import ImageFile
from diysink.selection import (
    Reweight,
    ReweightSelection,
    ReweightSettings,
    SentenceEncoder,
    save_selection,
)
from diysink.sinks import CalibrationSettings, Layout, calibrate, measure_norms, token_norms

NAME = "miniature"
HOST = "127.0.0.1"


def questions(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Pictures of the miniature's world, and a question about each."""
    rows = []
    for number in range(count):
        scene, data = sample_scene(rng), BytesIO()
        render(scene, rng).save(data, "PNG")
        asked = ask_in_group(scene, ("global", "local")[number % 2], rng)
        rows.append({"image": data.getvalue(), "question": asked.question})
    return pd.DataFrame(rows)


def save_model(folder: Path, images: list[bytes]) -> None:
    """The miniature with its sinks, a dual connector and R, both untrained, from one seed."""
    place = weights.path("encoder")
    encoder, processor = load_encoder(str(place)), load_image_processor(place)
    files = [ImageFile.of(image) for image in images]
    with torch.no_grad():
        norms = token_norms(encoder(processor([file.open() for file in files])))
    counted = measure_norms(Layout(), list(norms), [file.sha256 for file in files])
    profile = calibrate(counted, encoder.identity, CalibrationSettings())
    parts = Parts(str(place), str(weights.path("language")))
    assemble(parts, profile, connector="dual").save(folder)
    sentence = SentenceEncoder.load(weights.path("sentence"))
    r = Reweight(ReweightSettings(dim=sentence.dim))
    torch.nn.init.normal_(r.out.weight, std=0.5)
    save_selection(ReweightSelection(sentence, r), folder)
    shutil.copytree(weights.path("sentence"), folder / "sentence")


def promote(folder: Path, asked: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Package the model, promote it, and ask it everything; its tracking URI and the answers."""
    import mlflow

    from diysink import registry

    save_model(folder / "model", asked["image"].tolist())
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(tracking)
    mlflow.create_experiment(NAME, str(folder / "artifacts"))
    mlflow.set_experiment(NAME)
    judged = asked.assign(id=asked.index.astype(str), image="", reference="", correct=True)
    with mlflow.start_run():
        package = registry.package_model(
            folder / "model", judged, asked.head(1), tags={}, device="cpu"
        )
    registry.register(package, NAME, digest="-", tags={})
    registry.promote(NAME, margin=0.0)
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    told = model.predict(asked).to_dict(orient="records")
    return tracking, asked.assign(answer=told)


@dataclass(frozen=True)
class Server:
    """Where it listens, its process, and how long it took to start."""

    port: int
    pid: int
    start_seconds: float

    def cpu_seconds(self) -> float:
        """Processor time of the server so far, which other work on the machine changes little."""
        first = psutil.Process(self.pid)
        times = [one.cpu_times() for one in (first, *first.children(recursive=True))]
        return sum(time.user + time.system for time in times)


@contextmanager
def serving(tracking: str, log: Path, seconds: float = 120) -> Iterator[Server]:
    """`mlflow models serve` of the champion, until the block ends.

    Args:
        tracking: where the registry is.
        log: what the server prints.
        seconds: to start, at most.

    Raises:
        RuntimeError: it did not start; with the end of what it printed.
    """
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    scripts = str(Path(sys.executable).parent)  # MLflow starts uvicorn by its name
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PATH": scripts + os.pathsep + os.environ.get("PATH", ""),
        "MLFLOW_TRACKING_URI": tracking,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",  # of several requests at once, threads would fight
    }
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}@champion",
        "--env-manager", "local", "--host", HOST, "--port", str(port),
    ]  # fmt: skip
    start = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=variables, cwd=log.parent, stdout=out, stderr=out, start_new_session=True
        )
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() - start > seconds:
                raise RuntimeError(f"no server after {seconds} s: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield Server(port, process.pid, time.perf_counter() - start)
    finally:
        _stop(process)


def ask(port: int, request: Request) -> Reply:
    """Send one request and wait for all of the reply."""
    start = time.perf_counter()
    connection = http.client.HTTPConnection(HOST, port, timeout=120)
    try:
        headers = {"Content-Type": request.content_type}
        connection.request("POST", "/invocations", request.body, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    seconds = time.perf_counter() - start
    try:
        body: Any = json.loads(content)
    except ValueError:
        body = content.decode(errors="replace")
    return Reply(response.status, body, seconds)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """MLflow's process and uvicorn's, which are a session of their own."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
