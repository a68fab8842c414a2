"""Datasets refuse what is not what was written: flipped bits and cut files, by the file's name."""

import json

import pandas as pd
import pytest
from kedro.io import DatasetError

from diysink.artifact import digest_file, write_manifest
from pipelines.datasets import AtomicFile, Folder
from tests.pipelines.offline.command import Offline
from tests.pipelines.test_kill import before

TABLE = pd.DataFrame(
    {"value": [i / 7 for i in range(2000)], "name": [f"n{i}" for i in range(2000)]}
)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    (source / "dual").mkdir(parents=True)
    (source / "dual" / "model.safetensors").write_bytes(bytes(1000))
    write_manifest(source, kind="models")
    dataset = Folder(filepath=str(tmp_path / "published"))
    dataset.save(source)
    return dataset, tmp_path / "published" / "dual" / "model.safetensors"


def test_a_folder_with_a_flipped_bit_is_refused_by_the_files_name(folder):
    dataset, path = folder
    assert dataset.load().name == "published"
    path.unlink()  # it is linked to the source
    path.write_bytes(bytes(1000))
    flip(path, 500)
    fresh = Folder(filepath=str(dataset._path))
    with pytest.raises(DatasetError, match=r"dual/model\.safetensors: damaged"):
        fresh.load()


def test_a_folder_is_read_in_full_once_a_run_and_again_when_it_is_another(folder, monkeypatch):
    dataset, path = folder
    read = []
    real = digest_file
    monkeypatch.setattr("diysink.artifact.folder.digest_file", lambda p: read.append(p) or real(p))
    for _ in range(3):
        dataset.load()
    assert read == [path]
    manifest = path.parents[1] / "manifest.json"
    changed = json.loads(manifest.read_text()) | {"note": "another run's"}
    manifest.unlink()
    manifest.write_text(json.dumps(changed))
    dataset.load()
    assert read == [path, path]


def test_no_flipped_bit_of_a_table_goes_unnoticed(tmp_path):
    path = tmp_path / "table.parquet"
    dataset = AtomicFile(filepath=str(path), dataset={"type": "pandas.ParquetDataset"})
    dataset.save(TABLE)
    pd.testing.assert_frame_equal(dataset.load(), TABLE)
    whole = path.read_bytes()
    said = []
    for at in range(4, len(whole), len(whole) // 60):
        path.write_bytes(whole)
        flip(path, at)
        try:
            pd.testing.assert_frame_equal(dataset.load(), TABLE)  # a byte that means nothing
        except DatasetError as error:
            said.append(str(error))
    assert len(said) > 30
    assert all("table.parquet" in each for each in said)


@pytest.mark.slow
def test_damaged_weights_are_neither_evaluated_nor_registered(whole, tmp_path):
    project = before(whole, "evaluate", tmp_path)
    path = project / "data/06_models/finetune/dual/seed0/model.safetensors"
    flip(path, path.stat().st_size // 2)
    for stage in ("evaluate", "register"):
        run = Offline(project).python("-m", "kedro", "run", "--env", "test", "--pipelines", stage)
        assert run.returncode == 1
        error = (project / ".cache/traceback.txt").read_text()
        assert "finetune/dual/seed0/model.safetensors: damaged" in error
    assert not (project / "data/07_model_output/predictions.parquet").exists()
