"""Trainings side by side: the same bits as one after another, and what is shown of them."""

from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace

import mlflow
import pandas as pd
import pytest
import torch

from diysink.artifact import Unit, Workspace, digest_file, load_tensors, write_manifest
from diysink.device import threads
from diysink.encoders import load_encoder
from diysink.records import Records, write_shards
from diysink.sinks import SinkProfile
from diysink.training import ranks
from pipelines import training
from pipelines.align.nodes import align_connectors
from pipelines.finetune.nodes import finetune_models
from pipelines.monitor import Monitor, reporting
from pipelines.parts import untrained
from pipelines.training import encoded_records, is_global_zero, processes_of, train_units
from tests.engine.test_engines import until
from tests.pipelines.test_conf import changed, parameters, settings_of
from tests.pipelines.test_profiles import profile
from tests.tiny_models import tiny_generator

BASE = settings_of("base")
TRAINER = BASE["align"].trainer


@pytest.fixture
def stage(parts, tiny_records, tmp_path):
    """Align tiny connectors: records, profiles, settings."""
    if "llama" not in parts.name:
        pytest.skip("trainings do not depend on the pair")
    write_shards(tmp_path / "records" / "align", list(tiny_records))
    write_manifest(tmp_path / "records", kind="records")
    encoder = load_encoder(parts / "encoder")
    model = changed(
        BASE["model"],
        encoder=str(parts / "encoder"),
        language=str(parts / "language"),
        profile="mine",
    )
    align = changed(
        BASE["align"],
        connectors={"single": {}, "resampler": {"options": {"queries": 4, "heads": 2}}},
        require_sinks=False,
        max_steps=3,
        batch_size=2,
        trainer=asdict(TRAINER) | {"enable_progress_bar": False},
    )
    profiles = profile(tmp_path / "profiles", encoder)
    return partial(align_connectors, tmp_path / "records", profiles, model, align, [0, 1])


def test_side_by_side_and_one_after_another_are_the_same_to_the_bit(stage, tmp_path):
    """Also: connectors with other numbers of tokens do not share their encoded records."""
    one, curves = stage(1, str(tmp_path / "one"))
    two, same = stage(2, str(tmp_path / "two"))
    pd.testing.assert_frame_equal(curves, same)
    assert sorted(curves["unit"].unique()) == [
        f"{kind}/seed{seed}" for kind in ("resampler", "single") for seed in (0, 1)
    ]
    for unit in curves["unit"].unique():
        file = f"{unit}/connector.safetensors"
        assert digest_file(one / file) == digest_file(two / file)
    queries = load_tensors(one / "resampler/seed0/connector.safetensors")
    assert queries["resampler.queries.weight"].shape[0] == 4


def test_threads_are_as_they_were(stage, tmp_path):
    before = torch.get_num_threads()
    stage(1, str(tmp_path / "work"))
    assert torch.get_num_threads() == before
    assert not training._encoded


def threads_seen(unit, report):
    return [{"step": 1, "loss": torch.get_num_threads(), "learning_rate": 0.0}]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_each_training_has_one_thread_on_a_cpu_whatever_their_number(num_processes, tmp_path):
    trainer = replace(TRAINER, accelerator="cpu", enable_progress_bar=False)
    work = Workspace(tmp_path, "align", {})
    with threads(2):
        _, rows = train_units("align", work, ["a", "b"], threads_seen, trainer, 1, num_processes)
    assert [row["loss"] for row in rows] == [1, 1]


def fails(unit, report):
    if unit.name == "b":
        raise KeyError("broken")
    report({"step": 1, "loss": 0.5, "learning_rate": 0.1})
    return [{"step": 1, "loss": 0.5, "learning_rate": 0.1}]


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_failed_training_fails_the_stage_and_the_others_are_kept(num_processes, tmp_path):
    work = Workspace(tmp_path, "align", {})
    trainer = replace(TRAINER, enable_progress_bar=False)
    units = ["a", "b"]
    with pytest.raises(KeyError, match="broken"):
        train_units("align", work, units, fails, trainer, 1, num_processes)
    if num_processes == 1:
        assert work.finished("a") == [{"step": 1, "loss": 0.5, "learning_rate": 0.1}]
    assert work.finished("b") is None


@pytest.mark.parametrize(
    ("changes", "gpu", "expected"),
    [
        ({}, False, 3),
        ({}, True, 1),
        ({"accelerator": "cpu"}, True, 3),
        ({"accelerator": "gpu"}, True, 1),
        ({"devices": 2, "strategy": "ddp"}, False, 1),
        ({"strategy": "ddp_spawn"}, False, 1),
    ],
)
def test_auto_is_one_training_a_core_or_one_on_a_gpu(changes, gpu, expected, monkeypatch):
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: gpu)
    trainer = replace(TRAINER, **changes)
    assert processes_of(trainer, "auto") == expected
    assert processes_of(trainer, 2) == (1 if trainer.launched else 2)


def test_a_number_that_srun_gave_to_a_worker_of_ray_is_of_no_training(monkeypatch):
    """srun starts Ray's nodes as well: what trains there alone is written there."""
    for name, value in {
        "NTASKS": "4",
        "NTASKS_PER_NODE": "1",
        "PROCID": "2",
        "STEP_ID": "0",
        "NODEID": "2",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    ranks.cache_clear()
    try:
        assert ranks().rank == 2
        assert is_global_zero(TRAINER)
        assert not is_global_zero(replace(TRAINER, devices=4, strategy="ddp"))
    finally:
        ranks.cache_clear()


def test_curves_are_logged_to_the_open_run_every_tenth_step_and_at_the_end(
    monkeypatch, tmp_path, caplog
):
    """Steps are read while the training reports them, once each, also when it begins anew."""
    logged = []
    run = SimpleNamespace(info=SimpleNamespace(run_id="mine"))
    monkeypatch.setattr(mlflow, "active_run", lambda: run)
    monkeypatch.setattr(
        mlflow, "log_metrics", lambda m, step, run_id: logged.append((step, m)) or run_id == "mine"
    )
    counts = {"dialogues": 9, "truncated": 1, "left_out": 2}
    rows = [{"step": s, "loss": 1 / s, "learning_rate": 0.1} | counts for s in range(1, 14)]
    unit = Unit("dual/seed0", tmp_path, tmp_path)
    file = tmp_path / "steps.jsonl"
    file.write_text('{"of": "a run that was killed"}\n')
    with Monitor("align", 13, bars=False) as monitor:
        monitor.follow([unit])
        file.write_text("no row\n")  # what cannot be read stops nothing
        until(lambda: "steps of dual/seed0 are not shown" in caplog.text)
        for first in (0, 7):
            with reporting(unit) as report:
                for row in rows[first:11]:
                    report(row)
            until(lambda: monitor.steps.get("dual/seed0") == 11)
        monitor.finish("dual/seed0", rows)
    assert logged == [
        (step, {"align-dual-seed0-loss": 1 / step, "align-dual-seed0-learning_rate": 0.1})
        for step in (10, 13)
    ] + [(13, {f"align-dual-seed0-{name}": count for name, count in counts.items()})]


@pytest.mark.parametrize("max_length", [None, 14])
def test_dialogues_are_cut_to_the_parameter_or_to_the_models_positions(
    parts, tiny_records, tmp_path, max_length
):
    write_shards(tmp_path / "train", list(tiny_records))
    settings = changed(BASE["align"], split="train", max_length=max_length)
    generator = tiny_generator(parts)
    data = encoded_records(tmp_path, settings, 0, generator)
    assert isinstance(data.records, Records)
    assert data.max_length == (64 if max_length is None else 14)
    assert len(data[0]["input_ids"]) <= data.max_length
    assert data.lengths.counts["truncated"] == (0 if max_length is None else 16)
    assert encoded_records(tmp_path, settings, 0, generator) is data
    training._encoded.clear()


@pytest.mark.parametrize("stage", ["align", "finetune", "reweight"])
def test_every_stage_that_trains_has_the_parameter(stage):
    assert parameters("base")[stage]["max_length"] is None


@pytest.mark.parametrize(("limit", "converged"), [(1e-6, False), (1e6, True), (None, True)])
def test_a_training_that_has_not_converged_is_named(stage, parts, tmp_path, limit, converged):
    connectors, _ = stage(1, str(tmp_path / "work"))
    records, profiles, model, align, seeds = stage.args
    finetune = changed(
        BASE["finetune"],
        split="align",
        validation={"split": "align", "max_loss": limit},
        max_steps=2,
        batch_size=2,
        trainer=asdict(TRAINER) | {"enable_progress_bar": False},
    )
    _, curves, found = finetune_models(
        records, profiles, connectors, model, finetune, align, seeds, 1, str(tmp_path / "work")
    )
    assert sorted(zip(found["connector"], found["seed"], strict=True)) == [
        ("resampler", 0), ("resampler", 1), ("single", 0), ("single", 1)
    ]  # fmt: skip
    assert list(found["converged"]) == [converged] * 4
    last = curves.groupby("unit")["loss"].mean()
    for row in found.itertuples():
        assert row.train_loss == pytest.approx(last[f"{row.connector}/seed{row.seed}"])
        assert 0 < row.validation_loss < 10


def test_trainings_of_two_passes_start_first():
    """Two cores finish dual, then single and parameter-matched, at the same time."""
    assert BASE["align"].slowest_first == ["dual", "single", "parameter-matched"]
    alike = changed(BASE["align"], connectors={"single": {}, "dual": {"views": "all"}})
    assert alike.slowest_first == ["single", "dual"]


def test_the_limit_of_the_loss_trains_nothing_again(stage, parts, tmp_path, monkeypatch):
    connectors, _ = stage(1, str(tmp_path / "work"))
    records, profiles, model, align, seeds = stage.args
    given = {
        "split": "align", "max_steps": 2, "batch_size": 2,
        "trainer": asdict(TRAINER) | {"enable_progress_bar": False},
    }  # fmt: skip

    def tuned(limit):
        finetune = changed(
            BASE["finetune"], validation={"split": "align", "max_loss": limit}, **given
        )
        return finetune_models(
            records, profiles, connectors, model, finetune, align, seeds, 1, str(tmp_path / "work")
        )

    folder, _, strict = tuned(1e-6)
    monkeypatch.setattr(training, "_train", lambda *unit: pytest.fail("trained again"))
    same, _, mild = tuned(1e6)
    assert same == folder
    assert list(mild["validation_loss"]) == list(strict["validation_loss"])
    assert (list(strict["converged"]), list(mild["converged"])) == ([False] * 4, [True] * 4)


def test_validation_leaves_the_records_of_training_encoded(stage, parts, tmp_path):
    records, profiles, model, align, _ = stage.args
    align_settings = BASE["align"]
    assembled, _ = untrained("single/seed0", model, SinkProfile.load(
        profiles / "mine" / "profile.json"), align)  # fmt: skip
    kept = training.encoded_records(records, align_settings, 9, assembled)
    training.encoded_split(records / "align", align_settings, assembled)
    assert training.encoded_records(records, align_settings, 9, assembled) is kept
    training._encoded.clear()
