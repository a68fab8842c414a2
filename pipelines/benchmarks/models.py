"""What answers the benchmarks: variants of fine-tuned models and of the LVLM."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import FileLock, atomic_path, digest_json, digest_source, read_manifest
from pipelines.evaluate.models import Models, lvlm_norms
from pipelines.evaluate.nodes import digested_lvlm

if TYPE_CHECKING:
    from diysink.evaluation.benchmarks import Benchmark, Items
    from pipelines.benchmarks.asked import Asked
    from pipelines.evaluate.settings import Variant
    from pipelines.shared import Model


class Variants:
    """What determines the answers of each variant of a run.

    Args:
        models: of the run.
        finetuned_models: folder of all models.
        reweightings: folder of all trained selections.
        model: names the sentence encoder.
    """

    def __init__(
        self, models: Models, finetuned_models: Path, reweightings: Path, model: "Model"
    ) -> None:
        self.models, self.evaluate, self.lvlm = models, models.evaluate, models.lvlm
        self.sinks = Path()
        self._digests: dict[str, Any] = {"diysink": version("diysink"), "seed": models.seed}
        if self.evaluate.variants.trained:
            self._models = read_manifest(finetuned_models)["files"]
            self._selections = read_manifest(reweightings)["files"] if reweightings.exists() else {}
            self._asking = {
                "sentence": digest_source(model.sentence),
                "cot": self.evaluate.plain()["cot"],
            }
        if self.evaluate.variants.changed:
            self._lvlm = digested_lvlm(self.lvlm)

    def units(self, seeds: Sequence[int]) -> list[tuple[str, int]]:
        """Variants and training seeds; those of one model follow each other."""
        chosen = self.evaluate.variants
        by_model = sorted(chosen.trained, key=lambda name: chosen.chosen[name].connector or "")
        return [(name, training) for training in seeds for name in by_model] + [
            (name, 0) for name in chosen.changed
        ]

    def protocol(self, variant: str, training: int) -> dict[str, Any]:
        """All of a variant that determines its answers, but for the questions and their limit."""
        how = self.evaluate.variants.chosen[variant]
        found = {**self._digests, "variant": how.plain(), "training": training}
        if how.connector is not None:
            trained = {
                "model": _files(self._models, f"{how.connector}/seed{training}"),
                "selection": _files(self._selections, f"{how.selection}/seed{training}"),
            }
            return found | self._asking | trained
        found |= {"lvlm": self._lvlm["path"], "dtype": self._lvlm["dtype"]}
        return found | {"threshold": self._threshold()} if needs_sinks(how) else found

    def _threshold(self) -> list[Any]:
        from diysink.sinks import SinkProfile

        profile = SinkProfile.load(self.sinks / "profile.json")
        return [profile.tau, profile.relative, profile.criterion]

    def measure_sinks(self, folder: Path, asked: "Asked") -> None:
        """Measure which visual tokens of the LVLM are sinks, once for all processes.

        Args:
            folder: where profiles are kept.
            asked: the benchmark whose images are measured; no answers are looked at.
        """
        if asked.items is None:
            raise ValueError(f"benchmark {asked.row.name} has no files to measure sinks on")
        images = [asked.described[name] for name in ("loader", "split", "data")]
        key = digest_json([self._lvlm, *images])
        self.sinks = folder / key[:16]
        path = self.sinks / "profile.json"
        with FileLock(self.sinks.with_suffix(".lock"), what=str(path)):
            if path.is_file():
                return
            statistics, profile = lvlm_norms(
                self.lvlm, asked.items, self.evaluate, self.models.device
            )
            with atomic_path(self.sinks / "statistics.safetensors") as temporary:
                statistics.save(temporary)
            with atomic_path(path) as temporary:
                profile.save(temporary)


class Answerer:
    """One variant's answers to parts of one benchmark, in any process.

    Args:
        variants: of the run.
        variant: its name.
        training: training seed.
        row: the benchmark.
    """

    def __init__(self, variants: Variants, variant: str, training: int, row: "Benchmark") -> None:
        # Of the run only these: a process that gets the models makes its own, and loads one once.
        self.models, self.sinks = variants.models, variants.sinks.absolute()
        self.variant, self.training, self.row = variant, training, row

    def __call__(self, items: "Items") -> pd.DataFrame:
        """The table of predictions of some items."""
        from diysink.evaluation.predict import predict

        evaluate = self.models.evaluate
        with self.models.answering(self.variant, self.training, self.sinks) as model:
            return predict(
                model,
                items,
                benchmark=self.row,
                variant=self.variant,
                seed=self.training,
                control=evaluate.variants.chosen[self.variant].control,
                batch=evaluate.batch,
            )


def needs_sinks(variant: "Variant") -> bool:
    """Whether it has to be known which visual tokens of the LVLM are sinks."""
    return variant.change not in (None, "none")


def _files(files: Mapping[str, Any], unit: str) -> dict[str, str]:
    """Digests of the files of one model, whatever others are in the folder."""
    return {name: facts["sha256"] for name, facts in files.items() if name.startswith(f"{unit}/")}
