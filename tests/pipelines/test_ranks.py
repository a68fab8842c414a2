"""``kedro run`` under torchrun and srun: rank 0 is the run, the others help it train."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from diysink.artifact import read_manifest
from tests.launching import environment, srun
from tests.pipelines.project import kedro_run
from tests.pipelines.test_kill import before
from tests.pipelines.test_session import statuses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # four cold starts, on a machine that may be busy
    pytest.mark.filterwarnings("ignore"),
]

ONE = {
    "extends": "test",
    "align": {"connectors": {"single": None, "parameter-matched": None}},
    "finetune": {"max_steps": 20, "batch_size": 8, "trainer": {"every_n_train_steps": 2}},
}
TWO = ONE | {
    "finetune": {
        "max_steps": 20,
        "batch_size": 4,
        "trainer": {"every_n_train_steps": 2, "strategy": "fsdp2", "devices": 2},
    }
}
RUN = ["kedro", "run", "--pipelines", "finetune", "--env"]


def preset(project: Path, name: str, parameters: dict) -> str:
    folder = project / "conf" / name
    folder.mkdir()
    (folder / "parameters.yml").write_text(yaml.safe_dump(parameters))
    return name


def rank_of(process: int) -> str:
    try:
        variables = Path(f"/proc/{process}/environ").read_bytes().decode().split("\0")
    except OSError:  # it has just ended
        return ""
    return next((v.partition("=")[2] for v in variables if v.startswith("RANK=")), "")


def kill_rank_1_after_a_checkpoint(project: Path, env: str) -> tuple[int, float, str]:
    """A run by torchrun: its exit code, seconds that it outlived rank 1, and what it said."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    job = subprocess.Popen(
        [*command, "--nproc_per_node", "2", "-m", *RUN, env],
        cwd=project, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 400
        while not list(project.glob("data/.work/finetune/*/scratch/**/step=*.ckpt")):
            assert job.poll() is None, job.communicate()[0]
            assert time.monotonic() < end
            time.sleep(0.05)
        children = [child.pid for child in psutil.Process(job.pid).children(recursive=True)]
        [second] = [child for child in children if rank_of(child) == "1"]
        os.kill(second, signal.SIGKILL)
        died = time.monotonic()
        said, _ = job.communicate(timeout=100)
    finally:
        job.kill()
    return job.returncode, time.monotonic() - died, said


def test_rank_0_is_the_run_and_a_killed_rank_ends_it(whole, tmp_path):
    project = before(whole, "finetune", tmp_path / "two")
    two = preset(project, "two", TWO)
    code, seconds, said = kill_rank_1_after_a_checkpoint(project, two)
    assert code == 1
    assert seconds < 30
    assert "rank      : 1 (local_rank: 1)" in said
    assert "exitcode  : -9" in said
    [(status, count)] = statuses(project).items()
    assert (status in ("FAILED", "KILLED"), count) == (True, 1)
    assert not (project / "data/06_models/finetune").exists()

    tasks = srun([*RUN, two], project)
    assert [task.returncode for task in tasks] == [0, 0], tasks
    assert "finetune done" in tasks[0].stdout + tasks[0].stderr
    assert "finetune" not in tasks[1].stdout + tasks[1].stderr  # rank 1 has nothing to say
    assert statuses(project) == {status: 1, "FINISHED": 1}
    manifest = read_manifest(project / "data/06_models/finetune", thorough=True)
    assert {name.rpartition("/")[2] for name in manifest["files"]} >= {"model.safetensors"}
    assert not list((project / "data/.work").glob("finetune/*"))
    assert not list((project / "mlruns/.running").glob("*"))

    alone = before(whole, "finetune", tmp_path / "one")
    kedro_run(alone, "finetune", env=preset(alone, "one", ONE))
    curves = [
        pd.read_parquet(each / "data/08_reporting/curves/finetune.parquet")
        for each in (project, alone)
    ]
    assert [len(curve) for curve in curves] == [20, 20]
    assert (curves[0]["loss"] - curves[1]["loss"]).abs().max() < 1e-4


def test_a_run_that_needs_several_processes_says_so_before_it_begins(whole, tmp_path):
    project = before(whole, "finetune", tmp_path)
    with pytest.raises(ValueError, match="torchrun --nnodes 1 --nproc_per_node 2"):
        kedro_run(project, "finetune", env=preset(project, "two", TWO))
    assert not (project / "data/.work/finetune").exists()
