"""A setting on the questions of the search: its selector trained if it has one, its answers judged.

Everything is picklable, so that an engine may run trials in other processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import FileLock, Unit, digest_json, remove
from pipelines.evaluate.models import FineTuned
from pipelines.reweight.nodes import train_selector
from pipelines.training import forget_records
from pipelines.tune.search import Task
from pipelines.tune.setting import Setting

if TYPE_CHECKING:
    from diysink.evaluation.benchmarks import Items
    from pipelines.evaluate.settings import Evaluate
    from pipelines.reweight.settings import Reweight
    from pipelines.shared import Model
    from pipelines.tune.settings import Tune

_DONE = "trained.json"


@dataclass(frozen=True)
class Halves:
    """Places of the questions of the search, and of those that confirm its result.

    Attributes:
        search: what trials see.
        confirm: what no trial sees; empty where nothing is confirmed.
    """

    search: tuple[int, ...]
    confirm: tuple[int, ...]


def halve(items: "Items", share: float, seed: int) -> Halves:
    """Split questions by image, in an order that the images' digests and a seed decide.

    Args:
        items: each about one image.
        share: of the images that confirm.
        seed: of the order.

    Raises:
        ValueError: too few images for both parts.
    """
    of = [items[index].images[0].sha256 for index in range(len(items))]
    images = sorted(set(of), key=lambda image: digest_json([seed, image]))
    count = round(share * len(images))
    if len(images) == count or (share and not count):
        raise ValueError(
            f"{len(images)} images cannot be split with a share of {share} to confirm: both parts "
            "need an image. Give more images, or another tune.confirm (0: nothing is confirmed)"
        )
    kept = set(images[:count])
    places: tuple[list[int], list[int]] = ([], [])
    for index, image in enumerate(of):
        places[image in kept].append(index)
    return Halves(tuple(places[0]), tuple(places[1]))


@dataclass(frozen=True)
class Objective:
    """Accuracy of a study's variant under the values of a trial.

    Attributes:
        setting: the default, in which a trial replaces values.
        halves: which questions are asked.
        records: folder of all splits.
        finetuned_models: folder of all models.
        work: where selectors are trained; what is there is not trained again.
        model: names the sentence encoder.
        evaluate: how questions are asked.
        reweight: how selectors are trained.
        tune: the questions.
        seeds: training seeds; the accuracy is the mean over their models.
        seed: of what is drawn.
        device: where the models run.
    """

    setting: Setting
    halves: Halves
    records: Path
    finetuned_models: Path
    work: Path
    model: "Model"
    evaluate: "Evaluate"
    reweight: "Reweight"
    tune: "Tune"
    seeds: tuple[int, ...]
    seed: int
    device: str

    def __call__(self, task: Task) -> float:
        """Share of right answers to the questions of the search, from 0 to 1."""
        setting = self.setting.with_values(dict(task.values))
        return float(self.answers(setting, self.halves.search)["correct"].mean())

    def answers(self, setting: Setting, places: Sequence[int]) -> pd.DataFrame:
        """Judged answers: ``id``, ``image``, ``seed`` and ``correct`` (0 to 1).

        Args:
            setting: how they are given.
            places: of the questions.
        """
        from torch.utils.data import Subset

        from diysink.device import threads
        from diysink.evaluation.predict import predict

        # One thread, wherever it runs: the answers do not depend on the number of workers.
        with threads(1):
            variant = setting.variant
            if setting.selector is not None:
                variant = variant.model_copy(update={"selection": self._trained(setting)})
            row = self.tune.row()
            items: Any = Subset(row.items(self.records), list(places))  # type: ignore[arg-type]
            tables = []
            for training in self.seeds:
                model = self._models.model(variant, training, likelihoods=False)
                tables.append(
                    predict(
                        model,
                        items,
                        benchmark=row,
                        variant=variant.selection,
                        seed=training,
                        batch=self.evaluate.batch,
                    )
                )
        return pd.concat(tables, ignore_index=True)[["id", "image", "seed", "correct"]]

    @property
    def _models(self) -> FineTuned:
        key = digest_json([str(self.finetuned_models), str(self.work), self.device])
        if key not in _open:
            _open.clear()
            _open[key] = FineTuned(
                self.finetuned_models,
                self.work,
                self.model.sentence,
                self.evaluate,
                self.seed,
                {},
                self.device,
            )
        return _open[key]

    def _trained(self, setting: Setting) -> str:
        """Train the selector for every seed's model, if that is not done; its name in ``work``."""
        from diysink.artifact import write_json

        if setting.selector is None:
            raise ValueError(f"selection {setting.variant.selection!r} is not trained")
        name = f"{setting.variant.selection}-{digest_json(setting.selector.plain())[:12]}"
        reweight = self.reweight.model_copy(
            update={
                "selectors": {name: setting.selector},
                "trainer": replace(self.reweight.trainer, enable_progress_bar=False),
            }
        )
        for seed in self.seeds:
            result = self.work / name / f"seed{seed}"
            unit = Unit(f"{name}/seed{seed}", self.work / f"{name}-scratch" / f"seed{seed}", result)
            with FileLock(self.work / f"{name}.lock", what=str(result)):
                if (result / _DONE).is_file():
                    continue
                for folder in (unit.scratch, result):
                    folder.mkdir(parents=True, exist_ok=True)
                rows = train_selector(
                    self.records, self.finetuned_models, self.model, reweight, unit, _silent
                )
                write_json(result / _DONE, {"loss": rows[-1]["loss"]})
                remove(unit.scratch)
        return name


_open: dict[str, FineTuned] = {}  # of this process: the last models that were used


def close_models() -> None:
    """Free the memory of models and encoded images."""
    _open.clear()
    forget_records()


def _silent(row: Any) -> None:
    return None
