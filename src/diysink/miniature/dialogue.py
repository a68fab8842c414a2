"""What is said about a scene: descriptions for the language model, captions, questions, answers.

Questions come in three groups. Global ones ask for what an image-level token carries (ground,
lighting, symmetry, main colour, crowd); local ones ask for an object by its attributes, never by
its coordinates; mixed ones need both. Two routing questions, asked of the model itself, decide
which visual tokens a question should see (the chain-of-thought selection).
"""

from dataclasses import dataclass

import numpy as np

from diysink.miniature.askers import ASKERS
from diysink.miniature.wordings import (
    COMPLEXITY_ANSWERS,
    COMPLEXITY_QUESTION,
    SCOPE_ANSWERS,
    SCOPE_QUESTION,
    phrase,
)
from diysink.miniature.world import GRID, Scene

GROUND = "ground"  # the word for a cell that shows nothing but the ground
TOGETHER = "+"  # between words that one token says together


@dataclass(frozen=True)
class Exchange:
    """A question, its answer, and where it belongs."""

    question: str
    answer: str
    group: str
    subtask: str


GLOBAL_SUBTASKS = ("scene", "lighting", "symmetry", "majority", "crowd")
LOCAL_SUBTASKS = ("colour", "shape", "presence")
MIXED_SUBTASKS = ("scene-colour", "lighting-shape", "scene-presence")
SUBTASKS = {"global": GLOBAL_SUBTASKS, "local": LOCAL_SUBTASKS, "mixed": MIXED_SUBTASKS}
# Asked of descriptions only, never of pictures: half of the answers stay wrong, but to count a
# shape is practice in looking for it.
PRACTICE = ("count",)
_GROUPS = dict.fromkeys(PRACTICE, "local") | {
    subtask: group for group, subtasks in SUBTASKS.items() for subtask in subtasks
}


def ask(scene: Scene, subtask: str, rng: np.random.Generator) -> Exchange | None:
    """One question of a subtask about a scene, or None where the scene allows none.

    "The only circle" needs a scene with exactly one circle, and one that is not of the main
    colour where the colour is asked; "the only red object" likewise. All else can always be asked.

    Raises:
        ValueError: for a subtask that is not in `SUBTASKS`.
    """
    if subtask not in _GROUPS:
        known = ", ".join(_GROUPS)
        raise ValueError(f"No questions of subtask {subtask!r}; choose one of: {known}.")
    found = ASKERS[subtask](scene, rng)
    if found is None:
        return None
    blanks, answer = found
    return Exchange(phrase(subtask, rng, **blanks), answer, _GROUPS[subtask], subtask)


def ask_in_group(scene: Scene, group: str, rng: np.random.Generator) -> Exchange:
    """A question of a group, of a random subtask among those that the scene allows."""
    for name in rng.permutation(SUBTASKS[group]):
        if exchange := ask(scene, str(name), rng):
            return exchange
    raise ValueError(f"The scene allows no {group} question: {scene}.")


def ask_complexity(scene: Scene) -> Exchange:
    """The first routing question."""
    answer = COMPLEXITY_ANSWERS[0 if scene.simple else 1]
    return Exchange(COMPLEXITY_QUESTION, answer, "global", "complexity")


def ask_scope(about: Exchange) -> Exchange:
    """The second routing question, about a question."""
    question = SCOPE_QUESTION.format(question=about.question)
    return Exchange(question, SCOPE_ANSWERS[about.group], about.group, "scope")


def caption(scene: Scene, rng: np.random.Generator) -> Exchange:
    """Asks for a description and gives it: the global attributes, then the objects in order.

    For example "grass, dark, symmetric, mostly red, few: red circle, blue cross".
    """
    things = ", ".join(f"{thing.colour} {thing.shape}" for thing in scene.things)
    answer = (
        f"{scene.texture}, {scene.lighting}, {_symmetry(scene)}, mostly {scene.majority}, "
        f"{scene.crowd}: {things}"
    )
    return Exchange(phrase("caption", rng), answer, "mixed", "caption")


def inventory(scene: Scene, rng: np.random.Generator) -> Exchange:
    """Asks for the objects, shape first: for example "circle red, cross blue"."""
    answer = ", ".join(f"{thing.shape} {thing.colour}" for thing in scene.things)
    return Exchange(phrase("inventory", rng), answer, "local", "inventory")


def global_words(scene: Scene) -> tuple[str, ...]:
    """The five words that a description uses for the global attributes."""
    return (
        f"{scene.texture}-scene",
        f"{scene.lighting}-light",
        _symmetry(scene),
        f"mostly-{scene.majority}",
        scene.crowd,
    )


def describe(
    scene: Scene,
    rng: np.random.Generator,
    view: str = "both",
    order: str = "natural",
    *,
    together: bool = False,
) -> list[str]:
    """A scene in words, one word to a visual token: what the language model learns to read.

    An object's cell becomes its compound word ("red-circle"), a bare cell "ground". The five
    global words are dealt over the plain cells, or, half of the time where words may stand
    together, each plain cell has them all.

    Args:
        scene: what to describe.
        rng: deals the global words.
        view: "both", "sink" (plain cells only) or "nonsink" (all others).
        order: "natural" (raster), "front" or "end" (plain cells before or after all others).
        together: a plain cell's words are one, joined by `TOGETHER`.

    Returns:
        The words, objects always in raster order.

    Raises:
        ValueError: for another view or order.
    """
    if view not in ("both", "sink", "nonsink"):
        raise ValueError(f"view is {view!r}; it must be 'both', 'sink' or 'nonsink'.")
    if order not in ("natural", "front", "end"):
        raise ValueError(f"order is {order!r}; it must be 'natural', 'front' or 'end'.")
    words = list(global_words(scene))
    rng.shuffle(words)
    # An array of lists would be cut into columns where the lists are equally long.
    hands = {cell: words[index :: len(scene.plain)] for index, cell in enumerate(scene.plain)}
    if together:
        all_words = bool(rng.random() < 0.5)
        hands = {
            cell: [TOGETHER.join(words if all_words else hand)] for cell, hand in hands.items()
        }
    things = {(t.row, t.column): f"{t.colour}-{t.shape}" for t in scene.things}
    cells = [divmod(index, GRID) for index in range(GRID * GRID)]
    if order != "natural":
        cells.sort(key=lambda cell: (cell in hands) != (order == "front"))
    said: list[str] = []
    for cell in cells:
        if cell in hands:
            said += hands[cell] if view != "nonsink" else []
        elif view != "sink":
            said.append(things.get(cell, GROUND))
    return said


def _symmetry(scene: Scene) -> str:
    return "symmetric" if scene.mirrored else "uneven"
