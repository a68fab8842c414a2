"""Where answers are kept: elsewhere after any change that makes other answers, and only then."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diysink.artifact import write_manifest
from diysink.engine import LocalEngine
from diysink.evaluation.benchmarks import BENCHMARKS
from diysink.evaluation.benchmarks.llava_json import llava_json
from pipelines.benchmarks.asked import Asked
from pipelines.benchmarks.labels import label_benchmarks
from pipelines.benchmarks.models import Variants
from pipelines.benchmarks.nodes import _answer
from pipelines.benchmarks.settings import Benchmarks
from pipelines.evaluate.models import Models
from pipelines.evaluate.settings import Lvlm
from pipelines.shared import Model
from tests.pipelines.test_conf import changed, parameters
from tests.pipelines.test_evaluate import MODEL, small

VARIANTS: dict[str, Any] = {
    "stock": {"change": "none"},
    "front": {"change": "reposition", "options": {"where": "front"}},
    "dual": {"connector": "dual"},
    "rew": {"connector": "dual", "selection": "rew"},
}
BASE, EVALUATE = parameters("base"), small()
LINE = {"question_id": "q", "image": "a.png", "text": "What?", "answer": "A"}


def too(folder: Path, split: str) -> Any:
    """Another loader of the same files."""
    return llava_json(folder, split)


class Run:
    """The parts of a run; every one of them can be changed."""

    def __init__(self, root: Path) -> None:
        self.root, self.seed, self.threshold, self.device = root, 0, 50.0, "cpu"
        self.model: Model = MODEL
        self.variants = json.loads(json.dumps(VARIANTS))
        self.evaluate: dict[str, Any] = {}
        self.lvlm: dict[str, Any] = {"path": "org/model"}
        self.benchmarks: dict[str, Any] = {"chosen": {"mine": {"like": "llava"}}}
        self.files = {"mine/test.jsonl": json.dumps(LINE), "mine/a.png": "1"}
        self.weights = {"dual/seed0/w": "1", "dual/seed1/w": "1", "single/seed0/w": "1"}
        self.selections = {"rew/seed0/w": "1"}

    def folders(self) -> dict[str, Path]:
        """Where the answers of each variant to the first benchmark would be."""
        for name, text in self.files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for place, files in (("models", self.weights), ("rew", self.selections)):
            for name, text in files.items():
                path = self.root / place / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            write_manifest(self.root / place, kind=place)
        values = BASE["benchmarks"] | {"folder": str(self.root), "answers": str(self.root / "kept")}
        benchmarks = Benchmarks.model_validate(values | self.benchmarks)
        lvlm = Lvlm.model_validate(BASE["lvlm"] | self.lvlm)
        chosen = {"baseline": "stock", "candidate": "front", "variants": self.variants}
        evaluate = changed(EVALUATE, variants=chosen, **self.evaluate)
        folders = self.root / "models", self.root / "rew"
        models = Models(*folders, self.model.sentence, lvlm, evaluate, self.seed, self.device)
        variants = Variants(models, *folders, self.model)
        variants._threshold = lambda: [self.threshold]  # type: ignore[method-assign]
        found = {row.name: Asked.of(row, folder) for row, folder in benchmarks.rows()}
        name = next(iter(found))
        return {
            variant: _answer(variants, variant, 0, found, benchmarks, LocalEngine())[name]
            for variant in self.variants
        }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("diysink.evaluation.parts.answer_in_parts", lambda *a, **more: None)
    monkeypatch.setitem(BENCHMARKS, "llava-too", replace(BENCHMARKS["llava"], load=too))
    return Run(tmp_path)


def option(run: Run, variant: str, **values: Any) -> None:
    run.variants[variant] |= values


ALL, LVLM = set(VARIANTS), {"stock", "front"}
CHANGES: dict[str, tuple[Callable[[Run], Any], set[str]]] = {
    "seed": (lambda run: setattr(run, "seed", 1), ALL),
    "threshold": (lambda run: setattr(run, "threshold", 60.0), {"front"}),
    "revision": (lambda run: run.lvlm.update(revision="abc"), LVLM),
    "dtype": (lambda run: run.lvlm.update(dtype="float16"), LVLM),
    "images for sinks": (lambda run: run.lvlm.update(images=7), set()),
    "weights": (lambda run: run.weights.update({"dual/seed0/w": "2"}), {"dual", "rew"}),
    "another connector": (lambda run: run.weights.update({"single/seed0/w": "2"}), set()),
    "another training": (lambda run: run.weights.update({"dual/seed2/w": "2"}), set()),
    "selector": (lambda run: run.selections.update({"rew/seed0/w": "2"}), {"rew"}),
    "where": (lambda run: option(run, "front", options={"where": "end"}), {"front"}),
    "control": (lambda run: option(run, "front", control="random-matched"), {"front"}),
    "arrangement": (lambda run: option(run, "dual", arrangement="end"), {"dual"}),
    "selection": (lambda run: option(run, "dual", selection="sink"), {"dual"}),
    "sentence": (
        lambda run: setattr(run, "model", MODEL.model_copy(update={"sentence": "o/t"})),
        {"dual", "rew"},
    ),
    "cot": (
        lambda run: run.evaluate.update(cot=BASE["evaluate"]["cot"] | {"score": "mean"}),
        {"dual", "rew"},
    ),
    "length": (lambda run: run.evaluate.update(max_new_tokens=4), ALL),
    "batch": (lambda run: run.evaluate.update(batch=2), set()),
    "device": (lambda run: setattr(run, "device", "cuda"), set()),
    "every": (lambda run: run.benchmarks.update(every=3), set()),
    "limit": (lambda run: run.benchmarks.update(limit=3), ALL),
    "suffix": (lambda run: run.benchmarks["chosen"]["mine"].update(suffix=" x"), ALL),
    "metric": (lambda run: run.benchmarks["chosen"]["mine"].update(metric="exact"), ALL),
    "loader": (lambda run: run.benchmarks["chosen"]["mine"].update(like="llava-too"), ALL),
    "an answer of the same length": (
        lambda run: run.files.update({"mine/test.jsonl": json.dumps(LINE | {"answer": "B"})}),
        ALL,
    ),
    "an image": (lambda run: run.files.update({"mine/a.png": "22"}), ALL),
    "a hidden file": (lambda run: run.files.update({"mine/.DS_Store": "2"}), set()),
    "another benchmark": (
        lambda run: (
            run.benchmarks["chosen"].update(other={"like": "llava"}),
            run.files.update({"other/test.jsonl": json.dumps(LINE)}),
        ),
        set(),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_makes_other_answers_has_another_folder(run: Run, name: str) -> None:
    before = run.folders()
    assert run.folders() == before
    change, expected = CHANGES[name]
    change(run)
    after = run.folders()
    assert {variant for variant in ALL if before[variant] != after[variant]} == expected
    assert len(set(after.values())) == len(ALL)


def test_labels_are_of_the_candidates_own_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another connector of the same seed, and other weights of it, label again."""
    monkeypatch.setattr("pipelines.benchmarks.labels.loaded_lvlm", lambda *a: None)
    run.weights["single/seed0/w"] = "other"

    def folder(candidate: str) -> str:
        run.folders()
        variants = {name: {"connector": name} for name in ("dual", "single")}
        chosen = {"baseline": "dual", "candidate": candidate, "variants": variants}
        values = BASE["benchmarks"] | {"folder": str(tmp_path), "answers": str(tmp_path / "kept")}
        values |= run.benchmarks | {"taxonomy": {"local": 0.4, "whole": 0.6, "complexity": 0.0}}
        evaluate, benchmarks = changed(EVALUATE, variants=chosen), Benchmarks.model_validate(values)
        lvlm = Lvlm.model_validate(BASE["lvlm"])
        models = tmp_path / "models"
        return label_benchmarks(models, lvlm, evaluate, benchmarks, [0], "cpu")["mine"]

    first = folder("dual")
    assert folder("single") != first
    assert folder("dual") == first
    run.weights["dual/seed0/w"] = "2"
    assert folder("dual") != first
