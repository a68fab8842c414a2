"""The report's stage: its datasets, and the page from what the catalog holds."""

import inspect
import json
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from kedro.io import DatasetError

from diysink.analysis import ANALYSES
from diysink.artifact import write_manifest
from diysink.miniature.card import INDUCED, is_induced
from pipelines.datasets import JSONFiles, OptionalFile
from pipelines.pipeline_registry import register_pipelines
from pipelines.report import create_pipeline
from pipelines.report.nodes import (
    CURVES,
    PARAMETERS,
    TABLES,
    parameters_of,
    write_report,
)
from pipelines.report.plots import PLOTS, draw_plots
from pipelines.report.settings import Report
from tests.pipelines.test_conf import changed, settings_of
from tests.report.conftest import make_inputs

OF_ANALYSES = ("analyses_left_out", *(f"{name}_analysis" for name in ANALYSES))
BASE = settings_of("base")


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
    assert is_induced(str(tmp_path)) is induced
    assert is_induced("openai/clip-vit-large-patch14-336") is False


def test_the_shipped_encoders_say_so():
    from diysink.miniature import weights

    assert is_induced(str(weights.path("encoder")))


def test_the_page_comes_after_all_stages_before_it():
    """Earlier, the stages that ran in the same run would not have their timings and runs."""
    named = register_pipelines()
    before = named["__default__"].to_nodes("write_report").nodes
    assert {"timings", "runs"} <= set(named["report"].inputs())
    assert {node.name for node in named["__default__"].nodes} - {"draw_plots"} == {
        node.name for node in before
    }


@pytest.fixture
def others():
    """What the page's node takes besides what has an argument of its own."""
    curves = {name: pd.DataFrame() for name in CURVES.values()}
    tables = dict.fromkeys((*TABLES, *OF_ANALYSES))
    parameters = dict.fromkeys(PARAMETERS) | {
        "model": changed(BASE["model"], encoder="hub/encoder", profile="induced"),
        "sinks": changed(BASE["sinks"], expect={"induced": "found", "control": "none", "x": None}),
    }
    return curves | tables | parameters


@pytest.fixture
def folders(tmp_path):
    """Records, models trained here and models adopted, as a stage leaves them."""
    for name in ("records", "models", "adopted"):
        (tmp_path / name).mkdir()
        inputs = {"checkpoint": "digest"} if name == "adopted" else {}
        write_manifest(tmp_path / name, kind=name, inputs=inputs)
    return tmp_path


@pytest.fixture
def written(monkeypatch, folders, others):
    """The report's inputs, as the node makes them of the datasets that a test gives."""

    def write(**given):
        seen = []
        monkeypatch.setattr("diysink.report.render", lambda inputs: seen.append(inputs) or "page")
        made = make_inputs()
        datasets = {
            "evaluation_results": made.results,
            "predictions": made.predictions,
            "records": folders / "records",
            "finetuned_models": folders / "models",
            "validation": {"passed": True},
            "registration": None,
            "tuning_results": {"split": "validation"},
            "timings": dict(made.timings),
            "runs": dict(made.runs),
            "report": Report(title="A title", differing=2),
        }
        assert write_report(**(datasets | others | given)) == "page"
        return seen[0]

    return write


def test_every_dataset_arrives_in_its_field(written):
    frames = {name: pd.DataFrame({"of": [name]}) for name in (*CURVES.values(), *TABLES)}
    inputs = written(**frames)
    for stage, name in CURVES.items():
        assert inputs.curves[stage]["of"].tolist() == [name]
    assert {name: table["of"].tolist() for name, table in inputs.tables.items()} == {
        name: [name] for name in TABLES
    }
    assert inputs.validation == {"passed": True}
    assert inputs.tuning == {"split": "validation"}
    assert inputs.differing == 2
    assert inputs.digests["records"] != inputs.digests["fine-tuned models"]


def test_the_node_takes_each_dataset_and_parameter_under_its_own_name():
    [node] = create_pipeline().only_nodes("write_report").nodes
    given = inspect.signature(write_report).bind(**dict.fromkeys(node._inputs)).arguments
    assert set(given.pop("others")) == {
        *CURVES.values(), *TABLES, *PARAMETERS, *OF_ANALYSES,
    }  # fmt: skip
    assert not {*PARAMETERS} & {*CURVES.values(), *TABLES, *OF_ANALYSES}
    for name, dataset in node._inputs.items():
        parameter = name == "report" or name in PARAMETERS
        assert dataset == (f"params:{name}" if parameter else name)


def test_only_the_parameters_that_made_the_models_are_shown(folders):
    given = {name: f"value of {name}" for name in PARAMETERS}
    trained = parameters_of(folders / "models", given)
    assert trained == {name: given[name] for name in PARAMETERS if name != "adopt"}
    adopted = parameters_of(folders / "adopted", given)
    assert set(adopted) == set(PARAMETERS) - {"align", "finetune"}


def test_an_older_report_s_own_cost_is_left_out(written):
    made = make_inputs()
    inputs = written(
        timings={**made.timings, "report": {"seconds": 98765.4}},
        runs={**made.runs, "report": {"run_id": "old"}},
    )
    assert "report" not in inputs.timings
    assert "report" not in inputs.runs
    assert set(inputs.timings) == set(made.timings)


def plotted(**given):
    made = make_inputs()
    datasets = {
        "evaluation_results": made.results,
        "sink_verdicts": made.tables["sink_verdicts"],
        "sink_histogram": made.tables["sink_histogram"],
        "model": changed(BASE["model"], profile=made.tables["sink_verdicts"]["encoder"].iloc[0]),
    }
    curves = {name: next(iter(made.curves.values())) for name in CURVES.values()}
    return draw_plots(**(datasets | curves | given))


def test_plots_are_pictures_that_need_no_page():
    plots = plotted()
    assert tuple(plots) == PLOTS
    assert set(create_pipeline().only_nodes("draw_plots").outputs()) == {f"{n}_plot" for n in PLOTS}
    for svg in plots.values():
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{*}title").text
        assert "var(" not in svg
        assert "http" not in re.sub(r"http://www\.w3\.org/\S*", "", svg)
    assert plots == plotted()


def test_a_run_without_training_or_profile_has_plots_that_say_so():
    empty = {name: pd.DataFrame() for name in CURVES.values()}
    plots = plotted(**empty, model=changed(BASE["model"], profile="not-measured"))
    for name in (*CURVES, "norms"):
        assert "nothing to show" in "".join(ElementTree.fromstring(plots[name]).itertext())
    assert "nothing to show" not in plots["accuracy"]
