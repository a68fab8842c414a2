"""What answers the benchmarks: variants of fine-tuned models and of the LVLM."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diysink.artifact import FileLock, atomic_path, digest_folder, digest_json, digest_source
from pipelines.evaluate.models import FineTuned, loaded_lvlm, lvlm_variant
from pipelines.evaluate.nodes import digested_lvlm

if TYPE_CHECKING:
    from diysink.evaluation.predict import AnsweringModel
    from pipelines.benchmarks.asked import Asked
    from pipelines.evaluate.settings import Evaluate, Lvlm
    from pipelines.shared import Model


class Variants:
    """The variants of a run, each loaded when it answers.

    Args:
        finetuned_models: folder of all models.
        reweightings: folder of all trained selections.
        model: names the sentence encoder.
        lvlm: the vision-language model, and how its sinks are calibrated.
        evaluate: names the variants.
        seed: of what is drawn.
        device: where the models run.
    """

    def __init__(
        self,
        finetuned_models: Path,
        reweightings: Path,
        model: "Model",
        lvlm: "Lvlm",
        evaluate: "Evaluate",
        seed: int,
        device: str,
    ) -> None:
        self.lvlm, self.evaluate, self.seed, self.device = lvlm, evaluate, seed, device
        self.sinks = Path()
        self._finetuned = FineTuned(
            finetuned_models, reweightings, model.sentence, evaluate, seed, {}, device
        )
        self._digests: dict[str, Any] = {"diysink": version("diysink"), "seed": seed}
        if evaluate.variants.trained:
            self._trained = {
                "models": digest_folder(finetuned_models),
                "reweightings": digest_folder(reweightings) if reweightings.exists() else None,
                "sentence": digest_source(model.sentence),
                "cot": evaluate.plain()["cot"],
            }
        if evaluate.variants.changed:
            self._changed = {"lvlm": digested_lvlm(lvlm)}

    def units(self, seeds: Sequence[int]) -> list[tuple[str, int]]:
        """Variants and training seeds; those of one model follow each other."""
        chosen = self.evaluate.variants
        by_model = sorted(chosen.trained, key=lambda name: chosen.chosen[name].connector or "")
        return [(name, training) for training in seeds for name in by_model] + [
            (name, 0) for name in chosen.changed
        ]

    def protocol(self, variant: str, training: int) -> dict[str, Any]:
        """All of a variant that determines its answers, but for the questions."""
        how = self.evaluate.variants.chosen[variant]
        return {
            **self._digests,
            **(self._trained if how.connector is not None else self._changed),
            "sinks": self.sinks.name,
            "variant": how.plain(),
            "training": training,
            "max_new_tokens": self.evaluate.max_new_tokens,
        }

    def measure_sinks(self, folder: Path, asked: "Asked") -> None:
        """Measure which visual tokens of the LVLM are sinks, once for all processes.

        Args:
            folder: where profiles are kept.
            asked: the benchmark whose images are measured; no answers are looked at.
        """
        from diysink.evaluation.lvlm_sinks import measure_sinks

        if asked.items is None:
            raise ValueError(f"benchmark {asked.row.name} has no files to measure sinks on")
        key = digest_json([self._changed, asked.described["data"], self.lvlm.images])
        self.sinks = folder / key[:16]
        path = self.sinks / "profile.json"
        with FileLock(self.sinks.with_suffix(".lock"), what=str(path)):
            if path.is_file():
                return
            statistics, profile = measure_sinks(
                loaded_lvlm(self.lvlm, self.evaluate.max_new_tokens, self.device),
                asked.items,
                tau=self.lvlm.tau,
                images=self.lvlm.images,
                calibration=self.lvlm.calibration,
                bootstrap=self.lvlm.bootstrap.model_dump(),
                batch=self.evaluate.batch,
            )
            with atomic_path(self.sinks / "statistics.safetensors") as temporary:
                statistics.save(temporary)
            with atomic_path(path) as temporary:
                profile.save(temporary)

    @contextmanager
    def answering(self, variant: str, training: int) -> Iterator["AnsweringModel"]:
        """The model of a variant, on its device.

        Raises:
            UnsupportedInterventionError: the change cannot be made to this model; also while it
                answers.
        """
        how = self.evaluate.variants.chosen[variant]
        if how.connector is not None:
            yield self._finetuned.model(how, training)
            return
        limit = self.evaluate.max_new_tokens
        with lvlm_variant(self.lvlm, how, self.sinks, limit, self.seed, self.device) as model:
            yield model
