"""The words of questions, and of the answers that are one of a few.

Every subtask has several wordings; the sentence encoder learns that they ask the same. Objects are
named by colour and shape, never by place.
"""

import numpy as np

COMPLEXITY_QUESTION = "is the picture simple or complex?"
COMPLEXITY_ANSWERS = ("simple", "complex")
SCOPE_QUESTION = "does this need the whole picture or a detail: {question}"
SCOPE_ANSWERS = {"global": "whole", "local": "detail", "mixed": "both"}

NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven")

PHRASES: dict[str, tuple[str, ...]] = {
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


def phrase(subtask: str, rng: np.random.Generator, **blanks: str) -> str:
    """One of the wordings of a subtask's question, with its blanks filled in."""
    wordings = PHRASES[subtask]
    return wordings[rng.integers(len(wordings))].format(**blanks)
