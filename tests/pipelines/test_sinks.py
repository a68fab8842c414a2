"""The sinks stage: any encoder, on a folder of pictures or on the miniature, with its verdict."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from diysink.artifact import read_manifest
from diysink.encoders import load_encoder
from diysink.records import ImageFile, Record, write_shards
from diysink.sinks import CalibrationSettings, SinkProfile, Statistics
from diysink.sinks.tables import positions_table, verdict_table
from pipelines.sinks.nodes import (
    UnexpectedVerdictError,
    judge_sinks,
    measure_sinks,
    show_sinks,
    tabulate_sinks,
)
from pipelines.sinks.settings import Sinks
from tests.encoders.towers import MAKERS, PATCHES
from tests.pipelines.project import ROOT, kedro_run, make_project
from tests.pipelines.test_conf import changed

IMAGES = 12


def parameters(environment: str = "base") -> dict[str, Any]:
    path = ROOT / "conf" / environment / "parameters_sinks.yml"
    return yaml.safe_load(path.read_text())["sinks"]


def small(encoders: dict[str, Any], **changes: Any) -> Sinks:
    chosen = {"encoders": encoders, "batch_size": 4, "shard_size": 5, "examples": 3}
    few = {"replicates": 20, "seed": 0}
    return Sinks.model_validate(parameters() | chosen | {"bootstrap": few} | changes)


def pictures() -> list[ImageFile]:
    from diysink.artifact import digest_bytes

    generator = np.random.default_rng(0)
    files = []
    for _ in range(IMAGES):
        values = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(values).save(file, "PNG")
        files.append(ImageFile(file.getvalue(), digest_bytes(file.getvalue()), "PNG", 40, 30))
    return files


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    write_shards(folder / "train", [Record(f"r{i}", (p,), ()) for i, p in enumerate(pictures())])
    return folder


@pytest.fixture(scope="module")
def measured(
    records: Path, towers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Sinks]:
    """Profiles of two tiny encoders, and the parameters that made them."""
    sinks = small({name: {"path": str(towers[name])} for name in ("clip", "siglip")})
    return measure_sinks(records, sinks, "cpu", str(tmp_path_factory.mktemp("work"))), sinks


def test_the_calibration_in_conf_is_the_library_s_own() -> None:
    assert small({}).calibration == CalibrationSettings()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Kedro, MLflow, Great Expectations as they are imported
def test_any_encoder_on_a_folder_of_pictures(towers: dict[str, Path], tmp_path: Path) -> None:
    """`kedro run --pipelines prepare,sinks` with a user's pictures and encoders of every family."""
    (tmp_path / "pictures").mkdir()
    for index, picture in enumerate(pictures()):
        (tmp_path / "pictures" / f"{index}.png").write_bytes(picture.data)
    project = make_project(tmp_path / "project")
    mine = {name: {"path": str(path), "layer": -2} for name, path in towers.items()}
    kedro_run(
        project,
        "prepare",
        "sinks",
        prepare={"splits": {"train": {"records": None, "images": str(tmp_path / "pictures")}}},
        sinks={"encoders": {**mine, "induced": None, "control": None}},
    )
    profiles = project / "data/04_feature/sinks"
    read_manifest(profiles, thorough=True)
    assert {path.parent.name for path in profiles.glob("*/profile.json")} == set(MAKERS)
    for family in MAKERS:
        profile = SinkProfile.load(profiles / family / "profile.json")
        assert (profile.encoder.family, profile.layer, profile.images) == (family, 3, IMAGES)
        assert sum(profile.histogram) == IMAGES * PATCHES
        assert not profile.found  # random weights on random pixels
        profile.check(load_encoder(towers[family]).identity)
    examples = pd.read_parquet(project / "data/08_reporting/sinks/examples.parquet")
    assert set(examples["encoder"]) == set(MAKERS)


def test_tables_agree_with_the_profiles(measured: tuple[Path, Sinks], tmp_path: Path) -> None:
    folder, sinks = measured
    histogram, counts, positions, figures = tabulate_sinks(folder, str(tmp_path))
    verdicts, evidence = judge_sinks(folder, changed(sinks, expect=None))
    tokens = histogram.groupby("encoder")["tokens"].sum()
    assert tokens.to_dict() == {"clip": IMAGES * PATCHES, "siglip": IMAGES * PATCHES}
    assert counts.groupby("encoder")["images"].sum().to_dict() == {"clip": 12, "siglip": 12}
    assert len(positions) == 2 * PATCHES
    # every SigLIP token is a patch: together they receive all attention
    mean = histogram[histogram["encoder"] == "siglip"]
    received = (mean["attention"].fillna(0) * mean["tokens"]).sum() / mean["tokens"].sum()
    assert received == pytest.approx(1, abs=1e-4)
    contrast = (histogram["contrast"].fillna(0) * histogram["tokens"]).sum()
    assert contrast / histogram["tokens"].sum() == pytest.approx(1, abs=1e-4)
    assert list(verdicts["encoder"]) == ["clip", "siglip"]
    assert set(evidence["encoder"]) == {"clip", "siglip"}
    names = {path.name for path in figures.glob("*.svg")}
    assert names == {f"{e}-{k}.svg" for e in ("clip", "siglip") for k in ("norms", "positions")}
    read_manifest(figures, thorough=True)


def test_tables_of_an_encoder_with_a_threshold(measured: tuple[Path, Sinks]) -> None:
    folder, _ = measured
    statistics = Statistics.load(folder / "clip/statistics.safetensors")
    profile = SinkProfile.load(folder / "clip/profile.json")
    edges = statistics.layout.edges
    norms = statistics.tables["norms"][0]
    middle = int((norms.cumsum(0) * 2 >= norms.sum()).nonzero()[0, 0])
    profile = replace(profile, tau=float(edges[middle]))
    positions = positions_table("clip", statistics, profile)
    assert positions["sinks"].sum() == norms[middle:].sum()
    assert verdict_table({"clip": profile})["tau"][0] == profile.tau


def test_the_same_twice_and_nothing_twice(
    measured: tuple[Path, Sinks],
    records: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, sinks = measured
    again = measure_sinks(records, sinks, "cpu", str(tmp_path))
    assert (again / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()

    def computed(spec: object) -> None:
        raise RuntimeError("a shard is computed")

    monkeypatch.setattr("diysink.extraction.shards.encode_shard", computed)
    assert measure_sinks(records, sinks, "cpu", str(tmp_path)) == again
    with pytest.raises(RuntimeError, match="is computed"):  # other parameters are other work
        measure_sinks(records, changed(sinks, every=2), "cpu", str(tmp_path))


def test_every_kth_record(records: Path, towers: dict[str, Path], tmp_path: Path) -> None:
    sinks = small({"clip": {"path": str(towers["clip"])}}, every=5)
    folder = measure_sinks(records, sinks, "cpu", str(tmp_path))
    assert SinkProfile.load(folder / "clip/profile.json").images == 3  # 0, 5, 10


def test_examples_show_what_the_profile_says(measured: tuple[Path, Sinks], records: Path) -> None:
    folder, sinks = measured
    shown = show_sinks(records, folder, sinks, "cpu")
    assert list(shown["id"]) == ["r0", "r4", "r8"] * 2
    assert shown["image"][1] == pictures()[4].data
    assert (shown["rows"] * shown["columns"] == PATCHES).all()
    for name in ("norms", "attention", "sinks"):
        assert shown[name].map(len).unique().tolist() == [PATCHES]


def test_an_unexpected_verdict_warns_or_stops(
    measured: tuple[Path, Sinks],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, sinks = measured
    expected = {"clip": "found", "siglip": "none", "elsewhere": "found"}
    judge_sinks(folder, changed(sinks, expect=expected, unexpected="warn"))
    assert "clip should be 'found' but is 'no credible sinks'" in caplog.text
    assert "clip: no credible sinks; tau none" in capsys.readouterr().out
    with pytest.raises(UnexpectedVerdictError, match="clip should be 'found'"):
        judge_sinks(folder, changed(sinks, expect=expected, unexpected="stop"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "test"}, "sinks.split is 'test', but the records have train"),
    ],
)
def test_wrong_parameters_say_so(
    change: dict[str, Any],
    message: str,
    records: Path,
    towers: dict[str, Path],
    tmp_path: Path,
) -> None:
    sinks = small({"clip": {"path": str(towers["clip"])}}, **change)
    with pytest.raises((ValueError, TypeError), match=message):
        measure_sinks(records, sinks, "cpu", str(tmp_path))


def test_the_manifest_names_the_records(measured: tuple[Path, Sinks], records: Path) -> None:
    manifest = json.loads((measured[0] / "manifest.json").read_text())
    assert manifest["encoders"] == ["clip", "siglip"]
    assert len(manifest["records"]) == 64
