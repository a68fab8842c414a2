"""Every variant answers the same questions; differences come with intervals and tests."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import Workspace, atomic_path, digest_folder, digest_source, each_unit

if TYPE_CHECKING:
    from diysink.model import AnswerGenerator
    from diysink.selection import CoTTemplates, Selection
    from pipelines.evaluate.settings import Evaluate
    from pipelines.shared import Model


def predict_answers(
    records: Path,
    finetuned_models: Path,
    reweightings: Path,
    model: "Model",
    evaluate: "Evaluate",
    seeds: Sequence[int],
    seed: int,
    workspace: str,
    device: str,
) -> pd.DataFrame:
    """Generated answers of every variant and training seed to every question of the benchmarks."""
    from diysink.engine import resolve_device
    from diysink.evaluation.finetuned import EncodedImages, FineTunedModel
    from diysink.evaluation.predict import predict
    from diysink.model import load

    variants, benchmarks = evaluate.chosen, evaluate.rows()
    decides = {"batch", "max_new_tokens", "cot", "benchmarks"}
    inputs = {
        "records": digest_folder(records),
        "models": digest_folder(finetuned_models),
        "reweightings": digest_folder(reweightings),
        "sentence": digest_source(model.sentence),
        "evaluate": evaluate.model_dump(mode="json", include=decides),
        "variants": {name: how.plain() for name, how in variants.items()},
        "seeds": seeds,
        "seed": seed,
    }
    work = Workspace(workspace, "evaluate", inputs)
    images = EncodedImages()

    @lru_cache(maxsize=1)  # all variants of one model follow each other
    def loaded(connector: str, training: str) -> tuple["AnswerGenerator", str]:
        folder = finetuned_models / connector / training
        generator = load(folder, device=str(resolve_device(device)))
        generator.max_new_tokens = evaluate.max_new_tokens
        return generator, generator.model.config.arrangement

    def unit(name: str, scratch: Path, result: Path) -> list[dict[str, Any]]:
        variant, training = name.split("/")
        number, how = int(training.removeprefix("seed")), variants[variant]
        generator, arrangement = loaded(how.connector, training)
        generator.model.config.arrangement = how.arrangement or arrangement
        generator.selection = select(
            how.selection, generator, evaluate.cot, reweightings, model.sentence, number
        )
        control = how.control
        answering = FineTunedModel(
            generator, images, random_matched=seed if control == "random-matched" else None
        )
        tables = [
            predict(
                answering,
                benchmark.records(records),
                benchmark=benchmark,
                variant=variant,
                seed=number,
                control=control,
                batch=evaluate.batch,
            )
            for benchmark in benchmarks
        ]
        table = pd.concat(tables, ignore_index=True)
        with atomic_path(result / "predictions.parquet") as temporary:
            table.to_parquet(temporary)
        return [{"items": len(table)}]

    units = [f"{variant}/seed{seed}" for seed in seeds for variant in variants]
    # Each model is loaded once, and the table keeps the order of the parameters.
    by_model = sorted(units, key=lambda name: variants[name.split("/")[0]].connector)
    by_model.sort(key=lambda name: seeds.index(int(name.split("/seed")[1])))
    results, _ = each_unit(work, by_model, unit)
    return pd.concat(
        [pd.read_parquet(results / name / "predictions.parquet") for name in units],
        ignore_index=True,
    )


def select(
    name: str,
    generator: "AnswerGenerator",
    cot: "CoTTemplates",
    reweightings: Path,
    sentence: str,
    seed: int,
) -> "Selection":
    """The selection that a variant names.

    Raises:
        ValueError: an unknown name.
    """
    from diysink.model import selections_of
    from diysink.selection import load_selection

    model, chat_encoder = generator.model, generator.chat_encoder
    trained = {}
    selector = load_selection(
        reweightings / name / f"seed{seed}",
        sentence,
        model.get_input_embeddings(),
        chat_encoder.tokenizer,
    )
    if selector is not None:
        trained[name] = selector.to(model.device)
    known = selections_of(model, chat_encoder, templates=cot, trained=trained, seed=seed)
    if name not in known:
        raise ValueError(
            f"unknown selection {name!r}; expected one of reweight.selectors, or of "
            f"{', '.join(known)}"
        )
    return known[name]


def summarize(
    predictions: pd.DataFrame, evaluate: "Evaluate", seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracies, differences and the verdict in words; and the plain metrics to track."""
    from diysink.evaluation.summary import accuracies
    from diysink.evaluation.summary import summarize as tables

    names = {"baseline", "candidate", "oracle", "level", "resamples"}
    settings = evaluate.model_dump(include=names)
    results = tables(predictions, compare=evaluate.compare, seed=seed, **settings)
    return results | {"settings": settings}, accuracies(results["accuracy"])
