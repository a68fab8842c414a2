"""Two processes train what one trains, killed or not, under torchrun and under srun's variables."""

import json
import time

import pytest
import torch
from safetensors.torch import load_file

from diysink.records import Record, Turn, write_shards
from tests.launching import ROOT, srun, torchrun
from tests.training.many import train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # six cold starts, on a machine that may be busy
    # Input and output embeddings of this language model are one matrix.
    pytest.mark.parametrize("parts", [("clip", "qwen2")], indirect=True, scope="module"),
]

LORA = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
# Plain gradient descent, where the size of each step counts; AdamW's hardly depends on it.
FREE = {"sgd": True, "gradient_clip_val": 0.0}
CLIPPED = FREE | {"gradient_clip_val": 0.05}
SHORT = {
    "clipped": {"strategy": "ddp"} | CLIPPED,
    "clipped-sharded": {"strategy": "fsdp2"} | CLIPPED,
    "free-sharded": {"strategy": "fsdp2"} | FREE,
    "lora-sharded": {"strategy": "fsdp2", "lora": LORA, "gradient_checkpointing": True},
    "lora": {"strategy": "ddp", "lora": LORA, "gradient_checkpointing": True},
    "checkpointed": {"strategy": "fsdp2", "gradient_checkpointing": True},
    "connector": {"strategy": "ddp", "stage": "connector"},
    "half": {"strategy": "fsdp2", "precision": "bf16-mixed"},
    "half-ddp": {"strategy": "ddp", "precision": "bf16-mixed"},
}  # fmt: skip


class Jobs:
    """Jobs of two processes in one folder, with the same parts and records as one process has."""

    def __init__(self, parts, folder, images):
        self.parts, self.folder, self.records = parts, folder, folder / "records"
        # Two of three answers are long; half of the records have no image, so that at times one
        # process has images and the other has none.
        records = [
            Record(
                f"r{i}",
                images[i % 16].images if i % 2 else (),
                (Turn("human", "<image> a" if i % 2 else "a"),
                 Turn("gpt", "b c d " * 10 if i % 3 else "e")),
            )
            for i in range(24)
        ]  # fmt: skip
        write_shards(self.records, records)
        (folder / "two").mkdir()

    def run(self, launch, *trainings):
        job = self.folder / "job.json"
        trainings = [{"devices": 2} | training for training in trainings]
        job.write_text(json.dumps(
            {"parts": str(self.parts), "records": str(self.records),
             "folder": str(self.folder / "two"), "trainings": trainings}
        ))  # fmt: skip
        return launch(["tests.training.many", str(job)], ROOT)

    def two(self, name):
        """Curve and weights of two processes."""
        place = self.folder / "two" / f"{name}.json"
        return json.loads(place.read_text()), load_file(place.with_suffix(".safetensors"))

    def one(self, name, **settings):
        """Of one process, which has the batches of both."""
        return train(self.parts, self.records, self.folder / "one", name, **settings)

    def kept(self, name):
        """Names of its checkpoints."""
        return sorted(path.name for path in (self.folder / "two" / name).glob("*.ckpt"))

    @property
    def died(self):
        """Seconds since the last process was killed."""
        return time.time() - float((self.folder / "two/died").read_text())


@pytest.fixture(scope="module")
def jobs(parts, tiny_records, tmp_path_factory):
    """Each strategy is killed in the middle of an epoch (of three steps) and goes on."""
    jobs = Jobs(parts, tmp_path_factory.mktemp("devices"), tiny_records)
    ddp, fsdp = ({"name": name, "strategy": name} for name in ("ddp", "fsdp2"))
    jobs.ends = []
    ended = jobs.run(torchrun, ddp | {"dies": (1, 20)})
    jobs.ends.append((ended.returncode, ended.stderr, jobs.died, jobs.kept("ddp")))
    ended = jobs.run(torchrun, ddp, fsdp | {"dies": (0, 20)})
    jobs.ends.append((ended.returncode, ended.stderr, jobs.died, jobs.kept("fsdp2")))
    jobs.last = jobs.run(srun, fsdp, *({"name": n, "steps": 6} | s for n, s in SHORT.items()))
    return jobs


def test_a_killed_rank_ends_the_job_and_the_last_checkpoints_are_kept(jobs):
    for number, (code, said, seconds, kept) in enumerate(jobs.ends):
        assert code == 1
        assert f"rank      : {1 - number} (local_rank: {1 - number})" in said
        assert "exitcode  : -9" in said
        assert seconds < 30
        assert kept == ["step=14.ckpt", "step=7.ckpt"]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_killed_and_resumed_two_processes_have_one_process_s_curve(jobs, strategy):
    assert [task.returncode for task in jobs.last] == [0, 0], jobs.last
    rows, weights = jobs.two(strategy)
    expected, whole = jobs.one("fifty")
    assert [row["step"] for row in rows] == list(range(1, 51))
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]  # there was something to learn
    close(rows, expected, 1e-4)
    assert weights.keys() == whole.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(weights[name], tensor, atol=1e-3, rtol=0, msg=name)


@pytest.mark.parametrize("name", SHORT)
def test_variants_have_one_process_s_curve(jobs, name):
    """LoRA, gradient checkpointing, stage 1 (two passes a step), and half precision."""
    settings = {key: value for key, value in SHORT[name].items() if key != "strategy"}
    rows, weights = jobs.two(name)
    expected, whole = jobs.one(name, steps=6, **settings)
    assert rows[0]["loss"] != rows[-1]["loss"]
    close(rows, expected, 2e-3 if "precision" in settings else 1e-5)
    assert weights.keys() == whole.keys()


def test_gradients_are_those_of_one_process_clipped_by_the_norm_over_all_parts(jobs):
    _, clipped = jobs.one("one-clipped", steps=6, **CLIPPED)
    _, free = jobs.one("one-free", steps=6, **FREE)
    assert far(clipped, free) > 0.1
    for name, whole in (("clipped", clipped), ("clipped-sharded", clipped), ("free-sharded", free)):
        assert far(jobs.two(name)[1], whole) < 1e-4, name


def far(weights, others):
    return max(float((weights[name] - tensor).abs().max()) for name, tensor in others.items())


def close(rows, expected, tolerance):
    assert len(rows) == len(expected)
    gap = max(abs(a["loss"] - b["loss"]) for a, b in zip(rows, expected, strict=True))
    assert gap < tolerance
