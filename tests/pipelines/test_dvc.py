"""dvc.yaml says what the pipelines and the catalog say, and DVC acts on it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.pipeline import Pipeline, node

from pipelines.dvc import Layout, main, plots, render, stages
from pipelines.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(render(PROJECT))["stages"]
    return found


def outs(stage: Mapping[str, Any]) -> list[str]:
    return [*stage["outs"], *stage.get("metrics", [])]


def test_dvc_yaml_has_not_drifted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check"]) == 0, capsys.readouterr().err


def test_every_input_is_made_by_an_earlier_stage(described: dict[str, Any]) -> None:
    made: set[str] = set()
    for name, stage in described.items():
        read = {dep for dep in stage["deps"] if dep.startswith("data/")}
        assert read <= made, f"{name} reads what no earlier stage makes"
        made |= set(outs(stage))


def test_every_other_input_is_in_the_checkout(described: dict[str, Any]) -> None:
    for stage in described.values():
        for dep in stage["deps"]:
            assert dep.startswith("data/") or (PROJECT / dep).exists()


def test_nothing_is_made_twice_or_inside_another(described: dict[str, Any]) -> None:
    made = [Path(out) for stage in described.values() for out in outs(stage)]
    assert len(made) == len(set(made))
    assert not [out for out in made if set(out.parents) & set(made)]


def test_the_stages_are_those_of_the_default_run(described: dict[str, Any]) -> None:
    from pipelines.pipeline_registry import ON_REQUEST, STAGES

    assert list(described) == list(STAGES)
    assert not set(described) & set(ON_REQUEST)


class Toy:
    """A project of two stages whose configuration a test changes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "conf/base").mkdir(parents=True)
        self.write("parameters.yml", "seed: 1\nunused: 2\n")
        self.write("parameters_first.yml", "first: {count: 3, start: '${seed}'}\n")
        self.write("parameters_second.yml", "second: {factor: 2, other: 5}\n")
        self.write("catalog_first.yml", entry("numbers", "data/numbers.json"))
        self.write("catalog_second.yml", entry("product", "data/product.json", "metrics"))

    def write(self, name: str, text: str) -> None:
        (self.root / "conf/base" / name).write_text(text)

    def stages(self, second_reads: str = "numbers") -> dict[str, Any]:
        first = Pipeline([node(lambda p: p, "params:first", "numbers", name="count")])
        inputs = [second_reads, "params:second.factor"]
        second = Pipeline([node(lambda a, b: a, inputs, "product", name="multiply")])
        layout = Layout(self.root, CONFIG_LOADER_ARGS)
        return stages(self.root, layout, {"first": first, "second": second})


def entry(name: str, path: str, mlflow: str | None = None) -> str:
    dataset = {
        "type": "pipelines.datasets.AtomicFile",
        "filepath": path,
        "dataset": {"type": "json.JSONDataset"},
        "metadata": {"mlflow": mlflow} if mlflow else None,
    }
    return yaml.safe_dump({name: dataset})


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def test_worked_by_hand(toy: Toy) -> None:
    first, second = toy.stages().values()
    assert first["params"] == [
        {"conf/base/parameters.yml": ["seed"]},  # which first.start refers to
        {"conf/base/parameters_first.yml": ["first"]},
    ]
    assert second["params"] == [{"conf/base/parameters_second.yml": ["second.factor"]}]
    assert first["deps"] == ["conf/base/catalog_first.yml", "pipelines/first", "src/diysink"]
    assert "data/numbers.json" in second["deps"]
    assert second["metrics"] == ["data/product.json"]
    assert first["outs"] == [
        "data/08_reporting/runs/first.json",
        "data/08_reporting/timings/first.json",
        "data/numbers.json",
    ]
    assert "kedro run --pipelines=second" in second["cmd"]


def test_a_folder_of_many_stages_is_read_file_by_file(toy: Toy) -> None:
    toy.write("catalog_second.yml", entry("timings", "data/08_reporting/timings"))
    toy.write("catalog_first.yml", entry("numbers", "data/numbers.json") + entry("product", "p"))
    second = toy.stages(second_reads="timings")["second"]
    assert "data/08_reporting/timings/first.json" in second["deps"]
    assert "data/08_reporting/timings" not in second["deps"]


def test_what_the_catalog_keeps_from_dvc_is_no_output(toy: Toy) -> None:
    text = entry("numbers", "data/numbers.json").replace("metadata: null", "metadata: {dvc: false}")
    toy.write("catalog_first.yml", text + entry("seen", "data/seen.json"))
    assert "data/numbers.json" not in toy.stages(second_reads="seen")["first"]["outs"]


def picture(name: str, path: str, dvc: str = "plot") -> str:
    dataset = {"type": "text.TextDataset", "filepath": path, "metadata": {"dvc": dvc}}
    return yaml.safe_dump({name: dataset})


def shown(toy: Toy) -> list[str]:
    made = Pipeline([node(lambda p: p, "params:first", ["numbers", "drawn"], name="draw")])
    return plots(Layout(toy.root, CONFIG_LOADER_ARGS), {"first": made})


def test_plots_are_the_outputs_that_the_catalog_says_are(toy: Toy) -> None:
    numbers = entry("numbers", "data/numbers.json")
    toy.write("catalog_first.yml", numbers + picture("drawn", "data/drawn.svg"))
    assert shown(toy) == ["data/drawn.svg"]
    toy.write("catalog_first.yml", numbers + picture("drawn", "data/drawn.svg", dvc="out"))
    assert shown(toy) == []


@pytest.mark.parametrize("path", ["data/drawn.parquet", "data/drawn.json", "data/drawn"])
def test_a_plot_that_dvc_cannot_show_offline_is_an_error(toy: Toy, path: str) -> None:
    numbers = entry("numbers", "data/numbers.json")
    toy.write("catalog_first.yml", numbers + picture("drawn", path))
    with pytest.raises(ValueError, match=f"'drawn' is a plot and lies at {path}"):
        shown(toy)


def test_every_plot_is_an_output(described: dict[str, Any]) -> None:
    made = {out for stage in described.values() for out in outs(stage)}
    found = yaml.safe_load(render(PROJECT))["plots"]
    assert {"data/08_reporting/plots/norms.svg", "data/08_reporting/plots/align.svg"} <= set(found)
    assert set(found) <= made


def test_an_input_kept_in_memory_is_an_error(toy: Toy) -> None:
    with pytest.raises(ValueError, match="'second' reads 'fleeting', which has no place on disk"):
        toy.stages(second_reads="fleeting")


def test_all_parameters_at_once_are_an_error(toy: Toy) -> None:
    with pytest.raises(ValueError, match="takes all 'parameters'"):
        toy.stages(second_reads="parameters")


@pytest.mark.parametrize("text", ["other: 1\n", "second: {other: 1}\n", "second: 3\n"])
def test_a_parameter_that_no_file_has_is_an_error(toy: Toy, text: str) -> None:
    toy.write("parameters_second.yml", text)
    with pytest.raises(ValueError, match=r"takes params:second\.factor"):
        toy.stages()


def test_data_outside_the_project_are_an_error(toy: Toy) -> None:
    toy.write("catalog_first.yml", entry("numbers", "/elsewhere/numbers.json"))
    with pytest.raises(ValueError, match="outside the project"):
        toy.stages()


def test_drift_is_shown_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.dvc.render", lambda project: render(project) + "drifted\n")
    assert main(["--check"]) == 1
    shown = capsys.readouterr().err
    assert "+drifted" in shown
    assert "python -m pipelines.dvc" in shown


@pytest.fixture
def pretended(tmp_path: Path, described: dict[str, Any]) -> Any:
    """A DVC repository in which every stage has run, or so DVC believes."""
    from dvc.repo import Repo

    shutil.copytree(PROJECT / "conf/base", tmp_path / "conf/base")
    shutil.copy(PROJECT / "dvc.yaml", tmp_path)
    shutil.copy(PROJECT / ".dvcignore", tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
        patch.setenv("DVC_NO_ANALYTICS", "true")
        patch.chdir(tmp_path)
        with Repo.init(str(tmp_path), no_scm=True) as repo:
            for stage in described.values():
                for path in (tmp_path / p for p in (*stage["deps"], *outs(stage))):
                    if not path.exists():
                        path.parent.mkdir(parents=True, exist_ok=True)
                        path.write_text(str(path))
            repo.commit(force=True)
            yield repo


def changed(repo: Any) -> dict[str, Any]:
    from dvc.repo import Repo

    with Repo(repo.root_dir) as fresh:
        status: dict[str, Any] = fresh.status()
    return status


def test_a_changed_parameter_concerns_only_what_depends_on_it(pretended: Any) -> None:
    assert changed(pretended) == {}
    file = Path(pretended.root_dir) / "conf/base/parameters_reweight.yml"
    values = yaml.safe_load(file.read_text())
    values["reweight"]["epochs"] += 1
    file.write_text(yaml.safe_dump(values))
    assert list(changed(pretended)) == ["reweight", "report"]  # which shows all parameters


@pytest.mark.filterwarnings("ignore:_NoneStep.value")  # DVC's use of pygtrie
def test_dvc_knows_the_order_of_the_stages(pretended: Any, described: dict[str, Any]) -> None:
    graph = pretended.index.graph  # raises on a cycle and on overlapping outputs
    upstream = {stage.name: {s.name for s in graph.successors(stage)} for stage in graph}
    assert upstream["finetune"] == {"prepare", "sinks", "align"}
    assert set(upstream) == set(described)


def test_compiled_python_and_caches_change_nothing(pretended: Any) -> None:
    root = Path(pretended.root_dir)
    library = root / "src/diysink"
    library.unlink()
    (library / "__pycache__").mkdir(parents=True)
    (library / "code.py").write_text("x = 1")
    pretended.commit(force=True)
    (library / "__pycache__" / "code.pyc").write_text("compiled")
    assert changed(pretended) == {}
    (library / "code.py").write_text("x = 2")
    assert set(changed(pretended)) >= {"prepare", "evaluate"}


FIRST = """
from kedro.pipeline import Pipeline, node


def count(first, seed):
    import mlflow

    assert mlflow.active_run() is not None
    return {"numbers": list(range(first["count"])), "seed": seed}


def create_pipeline():
    return Pipeline([node(count, ["params:first", "params:seed"], "numbers", name="count")])
"""
SECOND = """
from kedro.pipeline import Pipeline, node


def multiply(numbers, second):
    return {"total": sum(numbers["numbers"]) * second["factor"]}


def create_pipeline():
    return Pipeline([node(multiply, ["numbers", "params:second"], "product", name="multiply")])
"""
REGISTRY = """
from kedro.pipeline import Pipeline

from pipelines import first, second

STAGES = {"first": first, "second": second}


def register_pipelines():
    return {
        name: Pipeline(stage.create_pipeline(), tags=f"stage.{name}")
        for name, stage in STAGES.items()
    }
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, empty_tracking: Path) -> Path:
    """The toy as a whole checkout with git and DVC, around the real hooks, settings, datasets."""
    toy = Toy(tmp_path_factory.mktemp("made") / "checkout")
    root = toy.root
    for stage, code in (("first", FIRST), ("second", SECOND)):
        (root / "pipelines" / stage).mkdir(parents=True)
        (root / "pipelines" / stage / "__init__.py").write_text(code)
    (root / "pipelines/pipeline_registry.py").write_text(REGISTRY)
    for file in (PROJECT / "pipelines").glob("*.py"):
        if file.name not in ("pipeline_registry.py", "parameters.py"):
            shutil.copy(file, root / "pipelines")
    (root / "pipelines/parameters.py").write_text("def build(*_):\n    return {}\n")
    shutil.copytree(PROJECT / "pipelines/hooks", root / "pipelines/hooks")
    for name in ("__init__.py", "artifact"):
        (shutil.copytree if name == "artifact" else _copy)(
            PROJECT / "src/diysink" / name, root / "src/diysink" / name
        )
    toy.write("parameters_first.yml", "first: {count: 3}  # how many\n")
    toy.write("mlflow.yml", (PROJECT / "conf/base/mlflow.yml").read_text())
    shutil.copy(PROJECT / "conf/logging.yml", root / "conf")
    (root / "conf/local").mkdir()
    (root / "conf/local/.gitkeep").touch()
    (root / "mlruns").mkdir()
    shutil.copy(empty_tracking, root / "mlruns/mlflow.db")
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "pyproject.toml"):
        _copy(PROJECT / name, root / name)
    call(root, sys.executable, "-m", "pipelines.dvc")
    call(root, "git", "init", "-q")
    call(root, "git", "add", ".")
    call(root, "git", "commit", "-qm", "A toy")
    return root


@pytest.fixture(scope="module")
def done(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout after its first ``dvc repro``."""
    root = tmp_path_factory.mktemp("done") / "checkout"
    shutil.copytree(made, root, symlinks=True)
    call(root, "dvc", "repro")
    return root


@pytest.fixture
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one of the two above for one test, named by its parameter."""
    source = request.getfixturevalue(request.param)
    return Path(shutil.copytree(source, tmp_path / "checkout", symlinks=True))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def call(root: Path, *command: str, fails: bool = False) -> str:
    """Run a command as a user would who has not activated the environment; what it prints."""
    variables = os.environ | {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PYTHONPATH": "src",
        "DVC_SITE_CACHE_DIR": str(root.parent / "site"),
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@t",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@t",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        command,
        cwd=root,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (done.returncode != 0) == fails, done.stdout
    return done.stdout


def read(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("checkout", ["done"], indirect=True)
def test_dvc_runs_what_changed_and_restores_what_it_knows(checkout: Path) -> None:
    """One life: run, run again, a variant by -S, and back to the first from the cache."""
    product, runs = checkout / "data/product.json", checkout / "data/08_reporting/runs"
    assert read(product) == {"total": 6}
    first, second = read(runs / "first.json"), read(runs / "second.json")
    assert first["run_id"] != second["run_id"]
    assert (first["dvc_stage"], second["dvc_stage"]) == ("first", "second")
    assert "Data and pipelines are up to date" in call(checkout, "dvc", "repro")
    call(checkout, "git", "add", "dvc.lock")
    call(checkout, "git", "commit", "-qm", "Run")

    shown = call(
        checkout,
        "dvc",
        "exp",
        "run",
        "-n",
        "variant",
        "-S",
        "conf/base/parameters_second.yml:second.factor=5",
    )
    assert "Stage 'first' didn't change" in shown
    assert read(product) == {"total": 15}
    assert read(runs / "first.json")["run_id"] == first["run_id"]
    variant = read(runs / "second.json")
    assert (variant["run_id"] != second["run_id"], variant["dvc_experiment"]) == (True, "variant")
    assert "total" in call(checkout, "dvc", "metrics", "diff")

    call(checkout, "git", "checkout", "-q", ".")
    shown = call(checkout, "dvc", "repro")
    assert "kedro run" not in shown  # nothing ran ...
    assert read(product) == {"total": 6}
    assert read(runs / "second.json") == second  # ... and the old run's id is back


@pytest.mark.slow
@pytest.mark.parametrize("checkout", ["made"], indirect=True)
def test_an_unpacked_archive_without_git_runs_once_dvc_is_told(checkout: Path) -> None:
    """The guide's two commands; and git, which it must not find in a folder above."""
    shutil.rmtree(checkout / ".git")
    guide = (PROJECT / "docs/guides/dvc.md").read_text().split("## Without git")[1]
    _, commands, _ = guide.split("```\n")
    configure, repro = (command.split() for command in commands.splitlines())
    shown = call(checkout, *repro, fails=True)
    assert "not a git repository" in shown
    call(checkout, *configure)
    call(checkout, *repro)
    assert read(checkout / "data/product.json") == {"total": 6}
    assert "Data and pipelines are up to date" in call(checkout, *repro)


@pytest.mark.slow
@pytest.mark.parametrize("checkout", ["done"], indirect=True)
def test_a_shared_cache_with_links_is_set_up_as_the_guide_says(
    checkout: Path, tmp_path: Path
) -> None:
    guide = (PROJECT / "docs/guides/dvc.md").read_text().split("## Links into a shared cache")[1]
    _, commands, _ = guide.split("```\n", 2)
    mine = commands.replace("/srv/dvc-cache", str(tmp_path / "cache"))
    for command in mine.replace("reflink,hardlink,symlink", "symlink").splitlines():
        call(checkout, *command.split())
    product = checkout / "data/product.json"
    assert (read(product), product.is_symlink()) == ({"total": 6}, True)
    assert list((tmp_path / "cache").rglob("files/md5/*/*"))
    call(checkout, "dvc", "config", "--local", "cache.type", "hardlink")
    call(checkout, "dvc", "checkout", "--relink")
    assert (read(product), product.is_symlink(), product.stat().st_nlink > 1) == (
        {"total": 6}, False, True,
    )  # fmt: skip
    assert "Data and pipelines are up to date" in call(checkout, "dvc", "repro")


def test_the_page_of_plots_needs_no_network(pretended: Any) -> None:
    root = Path(pretended.root_dir)
    call(root, "dvc", "plots", "show")
    page = (root / "dvc_plots/index.html").read_text()
    assert page.count("<img") == len(yaml.safe_load((root / "dvc.yaml").read_text())["plots"])
    assert "<script" not in page
    assert "http" not in page


@pytest.mark.slow
def test_raw_data_come_back_from_a_remote(tmp_path: Path) -> None:
    """The guide's recipe: a folder added, a file imported; pushed, wiped, pulled; updated."""
    root, outside = tmp_path / "checkout", tmp_path / "outside"
    (root / "raw/images").mkdir(parents=True)
    outside.mkdir()
    for name in (".gitignore", ".dvcignore"):
        _copy(PROJECT / name, root / name)
    for name in ("a.jpg", "b.jpg"):
        (root / "raw/images" / name).write_text(name)
    (outside / "mix.json").write_text("[]")
    for command in (
        "git init -q",
        "dvc init -q",
        "dvc add raw/images",
        f"dvc import-url {outside}/mix.json raw/mix.json",
        f"dvc remote add -d store {tmp_path}/remote",
        "dvc push",
    ):
        call(root, *command.split())
    assert "raw/images.dvc" in call(root, "git", "status", "--porcelain", "-uall")
    for gone in ("raw/images", ".dvc/cache"):
        shutil.rmtree(root / gone)
    (root / "raw/mix.json").unlink()
    call(root, "dvc", "pull")
    assert (root / "raw/images/b.jpg").read_text() == "b.jpg"
    assert read(root / "raw/mix.json") == []
    (outside / "mix.json").write_text("[1]")
    call(root, "dvc", "update", "raw/mix.json.dvc")
    assert read(root / "raw/mix.json") == [1]
