"""What tokens carry: probes, maps of relevance, words of single tokens."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from diysink.artifact import atomic_path, digest_bytes, load_tensors
from pipelines.analyze.study import Batch, Measured, Study, intervals, read, write

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor

    from diysink.model import AnswerGenerator


def probe_tokens(
    records: Path,
    finetuned_models: Path,
    image_labels: pd.DataFrame,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Linear probes of every labelled attribute, and sinks against each other source.

    Both empty where ``analyze.probes`` is null or no image has a label.
    """
    import torch
    from safetensors.torch import save_file

    from diysink.analysis.labels import one_per_image
    from diysink.analysis.probes import ProbeOptions, probe_tables, token_means

    asked = analyze["probes"]
    if asked is None or image_labels.empty:
        return pd.DataFrame(), pd.DataFrame()
    labels = one_per_image(image_labels, seed)
    local = {
        str(attribute): {str(row.image): _box(row) for row in part.itertuples()}
        for attribute, part in labels[labels["top"].notna()].groupby("attribute")
    }

    inside = asked["layers"] is None or bool(asked["layers"]["llm"])

    def measure(batch: _Images, folder: Path) -> None:
        sources = {"sink": batch.sinks, "matched": batch.matched, "pooled": ~batch.sinks}
        for attribute, boxes in local.items():
            at = batch.inside({image: [box] for image, box in boxes.items()})
            sources[f"place/{attribute}"] = at & ~batch.sinks
        means = token_means(batch.generator, batch.pixels, sources, language=inside)
        flat = {"|".join(map(str, site)): mean.contiguous() for site, mean in means.items()}
        with atomic_path(folder / "means.safetensors") as temporary:
            save_file(flat, temporary)

    place = (records, finetuned_models, analyze, workspace, device)
    study = Study("probes", *place, labels=_digest(image_labels), seed=seed)
    measured = _each_image(study, seed, measure)
    parts = [load_tensors(one.folder / "means.safetensors") for one in measured]
    images = [image for one in measured for image in one.images]
    sites = [
        (where, int(layer), source) for where, layer, source in (n.split("|") for n in parts[0])
    ]
    means = {
        (where, layer, source): torch.cat([p[f"{where}|{layer}|{source}"] for p in parts]).numpy()
        for where, layer, source in sites
        if asked["layers"] is None
        or layer
        in _counted(asked["layers"][where], {at for place, at, _ in sites if place == where})
    }
    options = ProbeOptions(
        asked["folds"], asked["ridge"], analyze["resamples"], analyze["level"], seed
    )
    return probe_tables(means, images, labels, options)


def map_relevance(
    records: Path,
    finetuned_models: Path,
    image_labels: pd.DataFrame,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How broad sinks' maps are against other tokens', and some maps to look at.

    Both empty where ``analyze.relevance`` is null or no image has a sink.
    """
    from diysink.analysis.relevance import example_maps, relevance_by_image, relevance_table

    asked = analyze["relevance"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame()
    boxes: dict[str, list[list[float]]] = {}
    if not image_labels.empty:
        for row in image_labels[image_labels["top"].notna()].itertuples():
            boxes.setdefault(str(row.image), []).append(_box(row))

    def measure(batch: _Images, folder: Path) -> None:
        tokens = {"sink": batch.sinks, "matched": batch.matched}
        model = batch.generator.model
        table = relevance_by_image(model, batch.pixels, batch.images, tokens, batch.inside(boxes))
        rows = []
        for i in range(min(max(asked["examples"] - batch.start, 0), len(batch.images))):
            if not batch.sinks[i].any() or not batch.matched[i].any():
                continue
            chosen = {name: int(mask[i].nonzero()[0]) for name, mask in tokens.items()}
            for shown in example_maps(model, batch.pixels[i : i + 1], chosen):
                rows.append(
                    {
                        "image": batch.images[i],
                        "picture": batch.pictures[i],
                        "rows": batch.grid[0],
                        "columns": batch.grid[1],
                        **vars(shown),
                    }
                )
        write(table, folder, "relevance")
        write(pd.DataFrame(rows), folder, "examples")

    place = (records, finetuned_models, analyze, workspace, device)
    study = Study("relevance", *place, labels=_digest(image_labels), seed=seed)
    measured = _each_image(study, seed, measure)
    table = relevance_table(read(measured, "relevance"), **intervals(analyze, seed))
    return table, read(measured, "examples")


def isolate_words(
    records: Path,
    finetuned_models: Path,
    image_labels: pd.DataFrame,
    analyze: dict[str, Any],
    seed: int,
    workspace: str,
    device: str,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """What tokens say by themselves; whether that is true of their image; and by attribute.

    All empty where ``analyze.words`` is null; the last two where no image has a label.
    """
    from transformers import AutoTokenizer

    from diysink.analysis.words import naming_tables, word_ids, word_table, words_by_image

    asked = analyze["words"]
    if asked is None:
        return pd.DataFrame(), pd.DataFrame(), pd.DataFrame()

    def measure(batch: _Images, folder: Path) -> None:
        tokens = {"sink": batch.sinks, "matched": batch.matched}
        table = words_by_image(batch.generator, batch.pixels, batch.images, tokens, asked["top"])
        write(table, folder)

    study = Study("words", records, finetuned_models, analyze, workspace, device, seed=seed)
    measured = read(_each_image(study, seed, measure))
    tokenizer = AutoTokenizer.from_pretrained(study.path, trust_remote_code=False)
    words = word_table(measured, tokenizer, asked["rows"])
    if image_labels.empty:
        return words, pd.DataFrame(), pd.DataFrame()
    ids = word_ids(tokenizer, sorted(set(image_labels["label"])))
    return words, *naming_tables(measured, image_labels, ids, **intervals(analyze, seed))


class _Images:
    """A batch of different images with their sinks and random-matched tokens."""

    def __init__(self, generator: "AnswerGenerator", batch: Batch, seed: int) -> None:
        import torch

        from diysink.analysis.layers import connected_encoder
        from diysink.analysis.random_matched import random_matched_tokens

        self.generator, self.start = generator, batch.start
        self.images = [record.images[0].sha256 for record in batch.items]
        self.pictures = [record.images[0].data for record in batch.items]
        model = generator.model
        self.pixels = generator.pixels([record.images[0].open() for record in batch.items])
        self.pixels = self.pixels.to(model.device, model.dtype)
        self.grid = connected_encoder(model).grid(self.pixels)
        with torch.no_grad():
            states = model.model.visual_states(self.pixels)
        self.sinks = model.model.sink_mask(states).cpu()
        self.matched = random_matched_tokens(self.sinks, self.images, seed)

    def inside(self, boxes: dict[str, list[list[float]]]) -> 'Bool[Tensor, "images tokens"]':
        """The patches inside any of each image's boxes."""
        import torch

        from diysink.analysis.labels import box_tokens

        inside = torch.zeros_like(self.sinks)
        for row, image in zip(inside, self.images, strict=True):
            for box in boxes.get(image, ()):
                row |= box_tokens(box, *self.grid)
        return inside


def _each_image(
    study: Study, seed: int, measure: Callable[[_Images, Path], None]
) -> list[Measured]:
    """Measure different images with their sinks and matched tokens."""
    return study.each(lambda batch, folder: measure(_Images(study.generator, batch, seed), folder))


def _counted(layers: list[int], known: set[int]) -> set[int]:
    """Layers by number; negative ones count from the last."""
    return {layer if layer >= 0 else max(known) + 1 + layer for layer in layers}


def _digest(labels: pd.DataFrame) -> str:
    return digest_bytes(labels.to_csv().encode())


def _box(row: Any) -> list[float]:
    return [float(row.top), float(row.left), float(row.bottom), float(row.right)]
