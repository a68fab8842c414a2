"""The report's stage: its datasets, and the page from what the catalog holds."""

import json

import pandas as pd
import pytest
from kedro.io import DatasetError

from diysink.artifact import write_manifest
from pipelines.card import INDUCED, says_induced
from pipelines.datasets import JSONFiles, OptionalFile
from pipelines.report import create_pipeline
from pipelines.report.nodes import (
    EVIDENCE,
    PARAMETERS,
    gather_evidence,
    gather_provenance,
    write_report,
)
from tests.report.conftest import make_inputs


def test_an_optional_file_that_is_missing_is_none(tmp_path):
    path = tmp_path / "table.parquet"
    dataset = OptionalFile(filepath=str(path), dataset={"type": "pandas.ParquetDataset"})
    assert dataset.load() is None
    dataset.save(pd.DataFrame({"a": [1]}))
    assert dataset.load()["a"].tolist() == [1]


def test_an_empty_table_keeps_its_place(tmp_path):
    """What a stage writes that was told to do nothing; the report takes it for a missing one."""
    dataset = OptionalFile(
        filepath=str(tmp_path / "table.parquet"), dataset={"type": "pandas.ParquetDataset"}
    )
    dataset.save(pd.DataFrame())
    assert dataset.load().empty


def test_json_files_are_read_by_stem_and_never_written(tmp_path):
    dataset = JSONFiles(filepath=str(tmp_path / "timings"))
    assert dataset.load() == {}
    (tmp_path / "timings").mkdir()
    (tmp_path / "timings" / "align.json").write_text(json.dumps({"seconds": 1}))
    assert dataset.load() == {"align": {"seconds": 1}}
    with pytest.raises(DatasetError, match="only read here"):
        dataset.save({})


@pytest.mark.parametrize(
    ("card", "induced"),
    [(None, False), ("# A real encoder", False), (f"# DIYSink: {INDUCED}", True)],
)
def test_the_encoder_s_own_card_says_induced(tmp_path, card, induced):
    if card is not None:
        (tmp_path / "README.md").write_text(card)
    assert says_induced(str(tmp_path)) is induced
    assert says_induced("openai/clip-vit-large-patch14-336") is False


def test_the_shipped_encoders_say_so():
    from diysink.miniature import weights

    assert says_induced(str(weights.path("encoder")))


def test_the_page_is_the_last_node_and_reads_timings_then():
    """Earlier, the stages that ran in the same run would not have theirs."""
    pipeline = create_pipeline()
    last = pipeline.nodes[-1]
    assert last.name == "write_report"
    assert {"timings", "runs"} <= set(last.inputs)
    assert not {"timings", "runs"} & {name for node in pipeline.nodes[:-1] for name in node.inputs}


def test_parameters_arrive_under_their_names(tmp_path):
    for name in ("records", "models", "adopted"):
        (tmp_path / name).mkdir()
        inputs = {"checkpoint": "digest"} if name == "adopted" else {}
        write_manifest(tmp_path / name, kind=name, inputs=inputs)
    values = [f"value of {name}" for name in PARAMETERS]
    made = gather_provenance(tmp_path / "records", tmp_path / "models", {}, None, *values)
    assert made["parameters"]["align"] == "value of align"
    assert "adopt" not in made["parameters"]
    other = gather_provenance(tmp_path / "records", tmp_path / "adopted", {}, None, *values)
    assert other["parameters"]["adopt"] == "value of adopt"
    assert not {"align", "finetune"} & set(other["parameters"])
    digests = made["digests"]
    assert digests["records"] != digests["fine-tuned models"]
    names = [name for node in create_pipeline().nodes for name in node.inputs]
    assert [f"params:{name}" for name in PARAMETERS] == [
        name for name in names if name.removeprefix("params:") in PARAMETERS and ":" in name
    ][: len(PARAMETERS)]


def test_tables_arrive_under_their_names():
    made = gather_evidence(*(pd.DataFrame({"of": [name]}) for name in EVIDENCE))
    assert all(table["of"].tolist() == [name] for name, table in made.items())
    node = next(node for node in create_pipeline().nodes if node.name == "gather_evidence")
    assert tuple(node.inputs) == EVIDENCE


def test_an_older_report_s_own_cost_is_left_out(tmp_path):
    inputs = make_inputs()
    timings = {**inputs.timings, "report": {"seconds": 98765.4, "peak_bytes": 1, "finished": "9"}}
    page = write_report(
        inputs.results, inputs.predictions, {}, {}, {}, {}, {}, timings, dict(inputs.runs),
        {"title": "A title", "differing": 2}, {"encoder": str(tmp_path), "profile": "induced"},
        {"expect": None}, {"claims": None},
    )  # fmt: skip
    assert "<title>A title: report</title>" in page
    assert "98,765" not in page
    assert "model organism" not in page
