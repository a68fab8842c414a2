"""Two processes as torchrun starts them, and as SLURM's srun would: with the variables it sets."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def environment(**more: str) -> dict[str, str]:
    """Of a process that imports this checkout."""
    path = f"{ROOT}:{ROOT / 'src'}"
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | more


def torchrun(
    arguments: Sequence[str], folder: Path, timeout: float = 400
) -> subprocess.CompletedProcess[str]:
    """``torchrun --nproc_per_node 2 -m ...`` in a folder."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return subprocess.run(
        [*command, "--nproc_per_node", "2", "-m", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout,
    )  # fmt: skip


def srun(
    arguments: Sequence[str], folder: Path, timeout: float = 400
) -> list[subprocess.CompletedProcess[str]]:
    """``srun --ntasks 2 python -m ...`` in a folder, without SLURM: each task, how it ended."""
    port = _free_port()
    tasks = [
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder, env=environment(**_task(number, port)), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]  # fmt: skip
    try:
        said = [task.communicate(timeout=timeout) for task in tasks]
    finally:
        for task in tasks:
            task.kill()
    return [
        subprocess.CompletedProcess(task.args, task.returncode, *texts)
        for task, texts in zip(tasks, said, strict=True)
    ]


def _task(number: int, port: int) -> dict[str, str]:
    """What srun sets for one of two tasks on one node; Lightning would take a port by the id."""
    return {
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NAME": "diysink",
        "SLURM_STEP_ID": "0",
        "SLURM_NODELIST": "localhost",
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number),
        "MASTER_PORT": str(port),
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port: int = free.getsockname()[1]
        return port
