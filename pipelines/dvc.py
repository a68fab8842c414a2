"""Writes ``dvc.yaml`` from the pipelines, the catalog and the parameter files.

One DVC stage per Kedro pipeline of `STAGES`, so that neither has to be told twice: what a pipeline
reads and writes is in its wiring, where that lies on disk is in the catalog, and which parameters
it uses are among its inputs.

    python -m pipelines.dvc           # write dvc.yaml
    python -m pipelines.dvc --check   # exit 1 and show the difference if it has drifted
"""

import argparse
import difflib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from pipelines.code import NOT_A_CAUSE
from pipelines.hooks.stages import run_file, timings_file

HEADER = "# Written by `python -m pipelines.dvc` from the pipelines and the catalog: do not edit.\n"
# DVC runs a stage in a plain shell: this checkout's own interpreter comes first, activated or not,
# and its own library before one that is installed from another checkout (DVC's queued experiments
# run in a copy).
COMMAND = (
    'PATH="$PWD/.venv/bin:$PATH" PYTHONPATH="$PWD/src:$PYTHONPATH" kedro run --pipelines={name}'
)
# What DVC can show, of what is not a chart of its own: a chart loads code from the network.
_SHOWN = {".svg", ".png", ".jpg", ".jpeg", ".gif"}
# Where work is done, and where it is kept unfinished, changes nothing about its result.
_NO_PARAMETER = {"workspace", "num_processes", "engine", "ray"}
# A reference to another parameter. Resolvers (`${name:...}`) depend on no parameter.
_REFERENCE = re.compile(r"\$\{\s*([A-Za-z_][\w.]*)\s*\}")


class Layout:
    """Where the configuration says that data and parameters lie, by catalog and parameter name.

    Args:
        project: the checkout.
        loader_arguments: of `OmegaConfigLoader`, as in ``settings.py``.
    """

    def __init__(self, project: Path, loader_arguments: Mapping[str, Any]) -> None:
        arguments = {**loader_arguments, "default_run_env": loader_arguments["base_env"]}
        loader = OmegaConfigLoader(conf_source=str(project / "conf"), **arguments)
        self._project = project
        self._catalog = DataCatalog.from_config(loader["catalog"])
        self._parameters: dict[str, tuple[str, Any]] = {}
        for path in sorted((project / "conf" / loader_arguments["base_env"]).glob("parameters*")):
            file = path.relative_to(project).as_posix()
            for key, value in (yaml.safe_load(path.read_text()) or {}).items():
                self._parameters[key] = (file, value)

    def entry(self, name: str) -> dict[str, Any] | None:
        """Configuration of a catalog entry or of the pattern that fits; None: kept in memory."""
        entry: dict[str, Any] = self._catalog.config_resolver.resolve_pattern(name)
        return entry or None

    def metadata(self, name: str) -> dict[str, Any]:
        """What a catalog entry says of itself to DVC and MLflow."""
        return (self.entry(name) or {}).get("metadata") or {}

    def path(self, name: str) -> str | None:
        """Where a dataset lies, from the project's root; None if DVC has nothing to do with it.

        That is one kept in memory, or whose catalog entry has ``metadata: {dvc: false}``.

        Raises:
            ValueError: it lies outside the project, where DVC cannot own it.
        """
        entry = self.entry(name) or {}
        found = entry.get("filepath") or entry.get("path")
        if found is None or self.metadata(name).get("dvc") is False:
            return None
        path = (self._project / found).resolve()
        if not path.is_relative_to(self._project.resolve()):
            raise ValueError(
                f"Catalog entry {name!r} lies at {found}, outside the project: DVC cannot keep it. "
                "Put it under data/."
            )
        return path.relative_to(self._project.resolve()).as_posix()

    def parameters(self, names: set[str]) -> dict[str, list[str]]:
        """Parameter files and the keys of each that ``names`` and their references come from."""
        keys: set[tuple[str, str]] = set()
        seen: set[str] = set()
        wanted = set(names)
        while wanted:
            name = wanted.pop()
            seen.add(name)
            file, value = self._lookup(name)
            keys.add((file, name))
            wanted |= set(_references(value)) - seen
        files = sorted({file for file, _ in keys})
        return {file: sorted(key for owner, key in keys if owner == file) for file in files}

    def _lookup(self, name: str) -> tuple[str, Any]:
        top, *rest = name.split(".")
        if top not in self._parameters:
            raise ValueError(
                f"A pipeline takes params:{name}, but no conf/base/parameters*.yml has the key "
                f"{top!r}; there are {', '.join(sorted(self._parameters))}."
            )
        file, value = self._parameters[top]
        for key in rest:
            if not isinstance(value, Mapping) or key not in value:
                raise ValueError(f"A pipeline takes params:{name}, but {file} has no {name!r}.")
            value = value[key]
        return file, value


def stages(project: Path, layout: Layout, pipelines: Mapping[str, Pipeline]) -> dict[str, Any]:
    """The ``stages`` of dvc.yaml, in the order of the data."""
    made: dict[str, list[str]] = {}  # stage -> what it and its hooks write
    described = {}
    for name, pipeline in pipelines.items():
        outs = _paths(layout, pipeline.all_outputs())
        metrics = [path for dataset, path in outs.items() if _is_metrics(layout, dataset)]
        deps = {*_code(project, name), *_data(layout, name, pipeline, made)}
        made[name] = [*outs.values(), timings_file(name), run_file(name)]
        described[name] = {
            "cmd": COMMAND.format(name=name),
            "deps": sorted(deps),
            "params": [{f: k} for f, k in layout.parameters(_parameter_names(pipeline)).items()],
            "outs": sorted(set(made[name]) - set(metrics)),
            "metrics": sorted(metrics),
        }
    return {name: {k: v for k, v in stage.items() if v} for name, stage in described.items()}


def plots(layout: Layout, pipelines: Mapping[str, Pipeline]) -> list[str]:
    """What ``dvc plots`` shows: the outputs whose entry has ``metadata: {dvc: plot}``.

    Raises:
        ValueError: one is of a kind that DVC cannot show.
    """
    outputs = set().union(*(pipeline.all_outputs() for pipeline in pipelines.values()))
    found = _paths(layout, {name for name in outputs if layout.metadata(name).get("dvc") == "plot"})
    for name, path in found.items():
        if Path(path).suffix not in _SHOWN:
            raise ValueError(
                f"Catalog entry {name!r} is a plot and lies at {path}; DVC shows files that end in "
                f"{', '.join(sorted(_SHOWN))}."
            )
    return sorted(found.values())


def render(project: Path) -> str:
    """The text of dvc.yaml for this checkout."""
    from pipelines.pipeline_registry import STAGES
    from pipelines.settings import CONFIG_LOADER_ARGS

    layout = Layout(project, CONFIG_LOADER_ARGS)
    wired = {name: module.create_pipeline() for name, module in STAGES.items()}
    wired = {name: pipeline for name, pipeline in wired.items() if pipeline.nodes}
    found = {"stages": stages(project, layout, wired), "plots": plots(layout, wired)}
    return HEADER + yaml.safe_dump(found, sort_keys=False, width=200)


def _code(project: Path, name: str) -> Iterator[str]:
    # All of the library: a finer rule misses what is imported through something else.
    yield "src/diysink"
    yield f"pipelines/{name}"
    files = [
        *(f for f in (project / "pipelines").glob("*.py") if f.name not in NOT_A_CAUSE),
        project / "conf/base/catalog.yml",
        project / f"conf/base/catalog_{name}.yml",
        project / "conf/local",  # what a user overrides there changes the result as well
    ]
    yield from (file.relative_to(project).as_posix() for file in files if file.exists())


def _data(
    layout: Layout, name: str, pipeline: Pipeline, made: Mapping[str, list[str]]
) -> Iterator[str]:
    earlier = [path for outs in made.values() for path in outs]
    for dataset in pipeline.inputs():
        if dataset == "parameters":
            raise ValueError(
                f"Pipeline {name!r} takes all 'parameters': it would run again when any of them "
                "changes. Take the 'params:...' that it uses."
            )
        if dataset.startswith("params:") or layout.metadata(dataset).get("dvc") == "optional":
            continue  # what a stage on request makes is not always there, as DVC would have it
        if (path := layout.path(dataset)) is None:
            raise ValueError(
                f"Pipeline {name!r} reads {dataset!r}, which has no place on disk: as a DVC stage "
                "of its own it could not find it. Give it a catalog entry."
            )
        # A folder that several stages write into is read as what the earlier ones wrote.
        inside = [out for out in earlier if out.startswith(f"{path}/")]
        yield from inside or [path]


def _paths(layout: Layout, names: set[str]) -> dict[str, str]:
    return {name: path for name in sorted(names) if (path := layout.path(name)) is not None}


def _is_metrics(layout: Layout, name: str) -> bool:
    return bool(layout.metadata(name).get("mlflow") == "metrics")


def _parameter_names(pipeline: Pipeline) -> set[str]:
    prefix = "params:"
    names = {name.removeprefix(prefix) for name in pipeline.inputs() if name.startswith(prefix)}
    names |= {"variant_sets"} if "evaluate" in names else set()  # evaluate.variants names one
    return names - _NO_PARAMETER


def _references(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield from _REFERENCE.findall(value)
        case Mapping():
            for inner in value.values():
                yield from _references(inner)
        case list():
            for inner in value:
                yield from _references(inner)


def main(arguments: list[str] | None = None) -> int:
    """Write or check dvc.yaml; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.dvc", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and exit 1 on a difference")
    options = parser.parse_args(arguments)
    project = Path(__file__).resolve().parents[1]
    file, text = project / "dvc.yaml", render(project)
    if not options.check:
        from diysink.artifact import write_text

        write_text(file, text)
        return 0
    found = file.read_text() if file.exists() else ""
    if found == text:
        return 0
    lines = difflib.unified_diff(
        found.splitlines(True), text.splitlines(True), "dvc.yaml", "the pipelines and the catalog"
    )
    sys.stderr.writelines(lines)
    print("dvc.yaml has drifted. Run: python -m pipelines.dvc", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
