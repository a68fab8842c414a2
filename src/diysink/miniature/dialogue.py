"""What is said about a scene: descriptions for the language model, captions, questions, answers.

Questions come in three groups. Global ones ask for what an image-level token carries (ground,
lighting, symmetry, main colour, crowd); local ones ask for an object by its attributes, never by
its coordinates; mixed ones need both. Two routing questions, asked of the model itself, decide
which visual tokens a question should see (the chain-of-thought selection).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diysink.miniature.world import COLOURS, GRID, SHAPES, Scene

COMPLEXITY_QUESTION = "is the picture simple or complex?"
COMPLEXITY_ANSWERS = ("simple", "complex")
SCOPE_QUESTION = "does this need the whole picture or a detail: {question}"
SCOPE_ANSWERS = {"global": "whole", "local": "detail", "mixed": "both"}

NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven")
GROUND = "ground"  # the word for a cell that shows nothing but the ground


@dataclass(frozen=True)
class Exchange:
    """A question, its answer, and where it belongs."""

    question: str
    answer: str
    group: str
    subtask: str


_PHRASES: dict[str, tuple[str, ...]] = {
    "scene": (
        "what is the scene?",
        "which kind of ground is it?",
        "where was this picture taken?",
    ),
    "lighting": (
        "how is the lighting?",
        "what is the light like?",
        "how bright is the picture?",
    ),
    "symmetry": (
        "is the layout symmetric?",
        "do the two halves mirror each other?",
        "is the picture balanced left and right?",
    ),
    "majority": (
        "what is the main colour of the objects?",
        "which colour do most objects have?",
        "what colour is most common?",
    ),
    "crowd": (
        "are there few, some or many objects?",
        "how crowded is the picture?",
        "how full is the picture?",
    ),
    "colour": (
        "what colour is the only {shape}?",
        "which colour does the only {shape} have?",
        "name the colour of the single {shape}.",
    ),
    "shape": (
        "what shape is the only {colour} object?",
        "which shape does the only {colour} object have?",
        "name the shape of the single {colour} object.",
    ),
    "presence": (
        "is there a {colour} {shape}?",
        "can you see a {colour} {shape}?",
        "does a {colour} {shape} appear?",
    ),
    "count": (
        "how many {shape}s are there?",
        "count the {shape}s.",
        "what is the number of {shape}s?",
    ),
    "scene-colour": (
        "what is the scene and what colour is the only {shape}?",
        "name the scene, then the colour of the single {shape}.",
    ),
    "lighting-shape": (
        "how is the lighting and what shape is the only {colour} object?",
        "name the lighting, then the shape of the single {colour} object.",
    ),
    "scene-presence": (
        "what is the scene and is there a {colour} {shape}?",
        "name the scene, then say whether a {colour} {shape} appears.",
    ),
    "caption": ("describe the picture.", "what can you see?", "tell me about the picture."),
    "inventory": ("list the shapes with their colours.", "which shapes are there?"),
}

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
    found = _ASKERS[subtask](scene, rng)
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


def phrase(subtask: str, rng: np.random.Generator, **blanks: str) -> str:
    """One of the wordings of a subtask's question, with its blanks filled in."""
    wordings = _PHRASES[subtask]
    return wordings[rng.integers(len(wordings))].format(**blanks)


def phrases(subtask: str) -> tuple[str, ...]:
    """All wordings of a subtask's question, with `{colour}` and `{shape}` left blank."""
    return _PHRASES[subtask]


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
    scene: Scene, rng: np.random.Generator, view: str = "both", order: str = "natural"
) -> list[str]:
    """A scene in words, one word to a visual token: what the language model learns to read.

    An object's cell becomes its compound word ("red-circle"), a bare cell "ground". The five
    global words are dealt over the plain cells, as their tokens will carry them all.

    Args:
        scene: what to describe.
        rng: deals the global words.
        view: "both", "sink" (plain cells only) or "nonsink" (all others).
        order: "natural" (raster), "front" or "end" (plain cells before or after all others).

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


def _only(
    values: Sequence[str], rng: np.random.Generator, allowed: Sequence[bool] | None = None
) -> int | None:
    """The allowed place of a value that occurs once, chosen at random among such."""
    allowed = allowed or [True] * len(values)
    single = [i for i, value in enumerate(values) if values.count(value) == 1 and allowed[i]]
    return int(rng.choice(single)) if single else None


_Found = tuple[dict[str, str], str] | None
_Asker = Callable[[Scene, np.random.Generator], _Found]


def _always(answer: Callable[[Scene], str]) -> _Asker:
    return lambda scene, rng: ({}, answer(scene))


def _colour(scene: Scene, rng: np.random.Generator) -> _Found:
    """Asks only where the answer is not the main colour.

    Else the main colour, a global word, would be right every second time, and that is what is
    learned instead of looking.
    """
    shapes = [thing.shape for thing in scene.things]
    index = _only(shapes, rng, [thing.colour != scene.majority for thing in scene.things])
    if index is None:
        return None
    return {"shape": scene.things[index].shape}, scene.things[index].colour


def _shape(scene: Scene, rng: np.random.Generator) -> _Found:
    index = _only([thing.colour for thing in scene.things], rng)
    if index is None:
        return None
    return {"colour": scene.things[index].colour}, scene.things[index].shape


def _presence(scene: Scene, rng: np.random.Generator) -> _Found:
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


def _count(scene: Scene, rng: np.random.Generator) -> _Found:
    shape = SHAPES[rng.integers(len(SHAPES))]
    return {"shape": shape}, NUMBERS[sum(thing.shape == shape for thing in scene.things)]


def _after(first: Callable[[Scene], str], then: _Asker) -> _Asker:
    def asker(scene: Scene, rng: np.random.Generator) -> _Found:
        found = then(scene, rng)
        return found and (found[0], f"{first(scene)} {found[1]}")

    return asker


_ASKERS: dict[str, _Asker] = {
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
