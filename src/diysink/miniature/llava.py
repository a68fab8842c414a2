"""Writes generated scenes as a data set in LLaVA's own format: a JSON list and an image folder.

The miniature's data enter by the door through which a user's data enter. What only the generator
knows (plain cells, attributes) goes to `<split>.truth.json` beside them, for tests and analyses;
training never reads it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from diysink.artifact import write_json
from diysink.miniature.dialogue import (
    GLOBAL_SUBTASKS,
    LOCAL_SUBTASKS,
    SUBTASKS,
    Exchange,
    ask,
    ask_complexity,
    ask_in_group,
    ask_scope,
)
from diysink.miniature.world import Scene, render, sample_scene

KINDS = ("train", "align", "questions")


def write_split(
    directory: Path,
    name: str,
    *,
    kind: str,
    images: int,
    seed: int,
    questions: int = 3,
) -> Path:
    """Writes `<name>.json`, `<name>.truth.json` and `images/<name>/*.png` in `directory`.

    Args:
        directory: where the data set goes; several splits share it.
        name: the split's name; it is part of every id and, with `seed`, decides the scenes, so
            that two splits never share one.
        kind: "train" (conversations of several turns, routing questions among them), "align"
            (for each image a conversation of global questions and one of local ones) or "questions"
            (one question to a record, with its group and subtask).
        images: how many pictures.
        seed: of the whole data set.
        questions: for kind "questions", records for each image; the groups take turns, so 3 is
            one of each.

    Returns:
        The path of the JSON file.

    Raises:
        ValueError: for another kind, or counts below 1.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}.")
    if images < 1 or questions < 1:
        raise ValueError(f"images={images}, questions={questions}: both must be at least 1.")
    folder = directory / "images" / name
    folder.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    truth: dict[str, Any] = {}
    for index, (scene, rng) in enumerate(scenes(name, images, seed)):
        image = f"{name}/{name}-{index:06d}.png"
        # Not one by one through a temporary name: the JSON, written last, is what names them.
        render(scene, rng).save(folder / f"{name}-{index:06d}.png")
        truth[image] = facts(scene)
        stem = f"{name}-{index:06d}"
        match kind:
            case "train":
                records.append(record(stem, image, conversation(scene, rng)))
            case "align":
                asked = introduction(scene, rng)
                for group in ("global", "local"):
                    own = [exchange for exchange in asked if exchange.group == group]
                    records.append(record(f"{stem}-{group}", image, own) | {"group": group})
            case _:
                first = index * questions
                for number in range(first, first + questions):
                    group = ("global", "local", "mixed")[number % 3]
                    exchange = ask_in_group(scene, group, rng)
                    labels = {"group": group, "subtask": exchange.subtask}
                    identity = f"{stem}-{group}-{exchange.subtask}"
                    if number - first >= 3:
                        identity += f"-{(number - first) // 3}"
                    records.append(record(identity, image, [exchange]) | labels)
    path = directory / f"{name}.json"
    write_json(directory / f"{name}.truth.json", truth)
    write_json(path, records)
    return path


def scenes(name: str, count: int, seed: int) -> Iterator[tuple[Scene, np.random.Generator]]:
    """The scenes of a split, each with the generator for its noise and its questions."""
    label = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    for index in range(count):
        rng = np.random.default_rng((seed, label, index))
        yield sample_scene(rng), rng


def record(identity: str, image: str, exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """One item of LLaVA's JSON list; the image comes before the first question."""
    turns = []
    for index, exchange in enumerate(exchanges):
        opening = "<image>\n" if index == 0 else ""
        turns.append({"from": "human", "value": opening + exchange.question})
        turns.append({"from": "gpt", "value": exchange.answer})
    return {"id": identity, "image": image, "conversations": turns}


def conversation(scene: Scene, rng: np.random.Generator) -> list[Exchange]:
    """A conversation of the instruction stage: two global, three local, one mixed, one routing."""
    asked = [*introduction(scene, rng), ask_in_group(scene, "mixed", rng)]
    if rng.random() < 0.5:
        asked.append(ask_complexity(scene))
    else:
        group = str(rng.choice(list(SUBTASKS)))
        asked.append(ask_scope(ask_in_group(scene, group, rng)))
    rng.shuffle(asked)
    return asked


def introduction(scene: Scene, rng: np.random.Generator) -> list[Exchange]:
    """What the alignment stage asks: two global and, where it can be, three local questions."""
    wanted = [*rng.choice(GLOBAL_SUBTASKS, size=2, replace=False).tolist(), *LOCAL_SUBTASKS]
    asked = [exchange for name in wanted if (exchange := ask(scene, name, rng))]
    rng.shuffle(asked)
    return asked


def facts(scene: Scene) -> dict[str, Any]:
    """All that is known of a scene, as JSON."""
    return asdict(scene) | {"majority": scene.majority, "crowd": scene.crowd}
