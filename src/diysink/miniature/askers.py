"""What is asked of a scene, subtask by subtask, and the true answer.

An asker chooses what to ask about at random. It gives the blanks of the question and its answer,
or None where the scene allows no such question. The words around the blanks are in `wordings`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from diysink.miniature.wordings import NUMBERS
from diysink.miniature.world import COLOURS, SHAPES, Scene

Found = tuple[dict[str, str], str] | None
Asker = Callable[[Scene, np.random.Generator], Found]


def _only(
    values: Sequence[str], rng: np.random.Generator, allowed: Sequence[bool] | None = None
) -> int | None:
    """The allowed place of a value that occurs once, chosen at random among such."""
    allowed = allowed or [True] * len(values)
    single = [i for i, value in enumerate(values) if values.count(value) == 1 and allowed[i]]
    return int(rng.choice(single)) if single else None


def _always(answer: Callable[[Scene], str]) -> Asker:
    return lambda scene, rng: ({}, answer(scene))


def _colour(scene: Scene, rng: np.random.Generator) -> Found:
    """Asks only where the answer is not the main colour.

    Else the main colour, a global word, would be right every second time, and that is what is
    learned instead of looking.
    """
    shapes = [thing.shape for thing in scene.things]
    index = _only(shapes, rng, [thing.colour != scene.majority for thing in scene.things])
    if index is None:
        return None
    return {"shape": scene.things[index].shape}, scene.things[index].colour


def _shape(scene: Scene, rng: np.random.Generator) -> Found:
    index = _only([thing.colour for thing in scene.things], rng)
    if index is None:
        return None
    return {"colour": scene.things[index].colour}, scene.things[index].shape


def _presence(scene: Scene, rng: np.random.Generator) -> Found:
    """Yes half of the time; a "no" asks for a colour and a shape that occur, but apart."""
    present = {(thing.colour, thing.shape) for thing in scene.things}
    if rng.random() < 0.5:
        colour, shape = sorted(present)[rng.integers(len(present))]
        return {"colour": colour, "shape": shape}, "yes"
    apart = {(colour, shape) for colour, _ in present for _, shape in present} - present
    if not apart:
        apart = {(colour, shape) for colour in COLOURS for shape in SHAPES} - present
    colour, shape = sorted(apart)[rng.integers(len(apart))]
    return {"colour": colour, "shape": shape}, "no"


def _count(scene: Scene, rng: np.random.Generator) -> Found:
    shape = SHAPES[rng.integers(len(SHAPES))]
    return {"shape": shape}, NUMBERS[sum(thing.shape == shape for thing in scene.things)]


def _after(first: Callable[[Scene], str], then: Asker) -> Asker:
    def asker(scene: Scene, rng: np.random.Generator) -> Found:
        found = then(scene, rng)
        return found and (found[0], f"{first(scene)} {found[1]}")

    return asker


ASKERS: dict[str, Asker] = {
    "scene": _always(lambda scene: scene.texture),
    "lighting": _always(lambda scene: scene.lighting),
    "symmetry": _always(lambda scene: "yes" if scene.mirrored else "no"),
    "majority": _always(lambda scene: scene.majority),
    "crowd": _always(lambda scene: scene.crowd),
    "colour": _colour,
    "shape": _shape,
    "presence": _presence,
    "count": _count,
    "scene-colour": _after(lambda scene: scene.texture, _colour),
    "lighting-shape": _after(lambda scene: scene.lighting, _shape),
    "scene-presence": _after(lambda scene: scene.texture, _presence),
}
