"""The generated world: small pictures of which everything is known.

A picture is 6 x 6 cells of 8 x 8 pixels, one cell to one patch of the encoder. It holds 3 to 7
objects on a noisy ground, under one of three lightings; in half of the pictures the objects'
places (not their colours or shapes) mirror about the vertical axis. Two to four empty cells are
painted plain grey, without noise or lighting: they say nothing by themselves, which makes them the
places where the miniature encoder is trained to put its INDUCED sinks (see `encoder`).

One number of the seed sequence decides a scene and, apart from it, the noise of its picture.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image

GRID = 6
CELL = 8
SIZE = GRID * CELL
PLAIN_GREY = 128

TEXTURES = ("grass", "sand", "water", "stone")
LIGHTINGS = ("dark", "soft", "bright")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple")
SHAPES = ("circle", "square", "triangle", "cross")
CROWDS = ("few", "some", "many")

_RGB = {
    "red": (214, 34, 44),
    "orange": (246, 140, 20),
    "yellow": (240, 226, 60),
    "green": (24, 150, 70),
    "blue": (40, 84, 224),
    "purple": (164, 60, 204),
}
_GROUND = {
    "grass": (118, 168, 74),
    "sand": (206, 184, 134),
    "water": (92, 152, 190),
    "stone": (140, 132, 140),
}
_LIGHT = {"dark": 0.55, "soft": 0.8, "bright": 1.05}


@dataclass(frozen=True)
class Thing:
    """One object: the cell that it fills, its colour and its shape."""

    row: int
    column: int
    colour: str
    shape: str


@dataclass(frozen=True)
class Scene:
    """What a picture shows, and where its plain cells are.

    `things` are in raster order. One colour is that of most of them, and at least one of them is
    alone in its colour or its shape, so that every scene can be asked about "the only circle".
    """

    texture: str
    lighting: str
    mirrored: bool
    things: tuple[Thing, ...]
    plain: tuple[tuple[int, int], ...]

    @property
    def majority(self) -> str:
        """The colour of most objects; `sample_scene` never makes a tie."""
        colours = [thing.colour for thing in self.things]
        return max(COLOURS, key=colours.count)

    @property
    def crowd(self) -> str:
        """`few` up to 4 objects, `some` for 5, `many` from 6."""
        return CROWDS[min(max(len(self.things) - 4, 0), 2)]

    @property
    def simple(self) -> bool:
        """Whether the picture counts as simple: at most 4 objects."""
        return len(self.things) <= 4


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draws one scene; the same generator state gives the same scene."""
    mirrored = bool(rng.random() < 0.5)
    places = _mirrored_places(rng) if mirrored else _uneven_places(rng)
    while True:
        colours = rng.integers(len(COLOURS), size=len(places))
        shapes = rng.integers(len(SHAPES), size=len(places))
        by_colour = np.sort(np.bincount(colours, minlength=len(COLOURS)))
        single = 1 in by_colour or 1 in np.bincount(shapes)
        if by_colour[-1] > by_colour[-2] and single:
            break
    things = tuple(
        Thing(row, column, COLOURS[colour], SHAPES[shape])
        for (row, column), colour, shape in zip(places, colours, shapes, strict=True)
    )
    empty = [divmod(cell, GRID) for cell in range(GRID * GRID)]
    empty = [cell for cell in empty if cell not in places]
    chosen = rng.choice(len(empty), size=int(rng.integers(2, 5)), replace=False)
    return Scene(
        texture=TEXTURES[rng.integers(len(TEXTURES))],
        lighting=LIGHTINGS[rng.integers(len(LIGHTINGS))],
        mirrored=mirrored,
        things=things,
        plain=tuple(sorted(empty[index] for index in chosen)),
    )


def render(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Paints a scene as a 48 x 48 RGB picture; `rng` gives the noise."""
    light = _LIGHT[scene.lighting]
    pixels = _ground(scene.texture, rng)
    for thing in scene.things:
        rows, columns = _cell(thing.row, thing.column)
        colour = np.array(_RGB[thing.colour]) + rng.normal(0, 8, (CELL, CELL, 3))
        pixels[rows, columns] = np.where(_MASKS[thing.shape], colour, pixels[rows, columns])
    pixels *= light
    for row, column in scene.plain:
        pixels[_cell(row, column)] = PLAIN_GREY
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def is_mirrored(cells: frozenset[tuple[int, int]]) -> bool:
    """Whether a set of cells equals its mirror image about the vertical axis."""
    return cells == {(row, GRID - 1 - column) for row, column in cells}


def _mirrored_places(rng: np.random.Generator) -> list[tuple[int, int]]:
    half = rng.choice(GRID * GRID // 2, size=int(rng.integers(2, 4)), replace=False)
    left = [divmod(int(cell), GRID // 2) for cell in half]
    return sorted(left + [(row, GRID - 1 - column) for row, column in left])


def _uneven_places(rng: np.random.Generator) -> list[tuple[int, int]]:
    # Odd counts are the more frequent here because mirrored layouts have even ones only.
    count = int(rng.choice(5, p=(0.25, 0.1, 0.35, 0.1, 0.2))) + 3
    while True:
        cells = rng.choice(GRID * GRID, size=count, replace=False)
        places = sorted(divmod(int(cell), GRID) for cell in cells)
        if not is_mirrored(frozenset(places)):
            return places


def _cell(row: int, column: int) -> tuple[slice, slice]:
    return (
        slice(row * CELL, (row + 1) * CELL),
        slice(column * CELL, (column + 1) * CELL),
    )


def _ground(texture: str, rng: np.random.Generator) -> Float[np.ndarray, "48 48 3"]:
    """Each ground has its own colour and its own direction of grain."""
    match texture:
        case "grass":
            grain = np.repeat(rng.normal(0, 22, (SIZE // 4, SIZE)), 4, axis=0)
        case "water":
            grain = np.repeat(rng.normal(0, 22, (SIZE, SIZE // 4)), 4, axis=1)
        case "stone":
            coarse = rng.normal(0, 22, (SIZE // 4, SIZE // 4))
            grain = np.repeat(np.repeat(coarse, 4, axis=0), 4, axis=1)
        case _:
            grain = rng.normal(0, 22, (SIZE, SIZE))
    noise = rng.normal(0, 6, (SIZE, SIZE, 3))
    return np.array(_GROUND[texture], dtype=float) + grain[:, :, None] + noise


def _shape_masks() -> dict[str, Bool[np.ndarray, "8 8 1"]]:
    y, x = np.mgrid[:CELL, :CELL] - (CELL - 1) / 2
    masks = {
        "circle": x**2 + y**2 <= 11,
        "square": (abs(x) < 4) & (abs(y) < 4),
        "triangle": (abs(x) <= (y + 4) / 2) & (y <= 3),
        "cross": ((abs(x) <= 1) | (abs(y) <= 1)) & (abs(x) <= 3) & (abs(y) <= 3),
    }
    return {name: mask[:, :, None] for name, mask in masks.items()}


_MASKS = _shape_masks()
