import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diysink.miniature.world import (
    CELL,
    COLOURS,
    GRID,
    PLAIN_GREY,
    Scene,
    Thing,
    is_mirrored,
    render,
    sample_scene,
)

seeds = st.integers(0, 2**32 - 1)


def scene_of(seed: int) -> Scene:
    return sample_scene(np.random.default_rng(seed))


@given(seeds)
def test_layout_mirrors_exactly_when_the_scene_says_so(seed: int) -> None:
    scene = scene_of(seed)
    cells = {(thing.row, thing.column) for thing in scene.things}
    opposite = {(row, 5 - column) for row, column in cells}
    assert (cells == opposite) is scene.mirrored


@given(seeds)
def test_one_colour_has_the_most_objects(seed: int) -> None:
    scene = scene_of(seed)
    counts = {c: sum(thing.colour == c for thing in scene.things) for c in COLOURS}
    most = counts.pop(scene.majority)
    assert most > max(counts.values())


@given(seeds)
def test_objects_and_plain_cells_are_apart_and_as_many_as_promised(seed: int) -> None:
    scene = scene_of(seed)
    cells = [(thing.row, thing.column) for thing in scene.things]
    assert 3 <= len(cells) <= 7
    assert 2 <= len(scene.plain) <= 4
    taken = {*cells, *scene.plain}
    assert len(taken) == len(cells) + len(scene.plain)
    assert all(0 <= row < GRID and 0 <= column < GRID for row, column in taken)
    assert cells == sorted(cells)


@given(seeds)
def test_something_is_alone_in_its_colour_or_shape(seed: int) -> None:
    scene = scene_of(seed)
    colours = [thing.colour for thing in scene.things]
    shapes = [thing.shape for thing in scene.things]
    assert 1 in map(colours.count, colours) or 1 in map(shapes.count, shapes)


@given(seeds)
def test_only_plain_cells_are_plain_grey(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng)
    pixels = np.asarray(render(scene, rng)).reshape(GRID, CELL, GRID, CELL, 3)
    grey = (pixels == PLAIN_GREY).all(axis=(1, 3, 4))
    assert {(int(row), int(column)) for row, column in np.argwhere(grey)} == set(scene.plain)


def test_the_seed_decides_scene_and_picture() -> None:
    def made(seed: int) -> tuple[Scene, bytes]:
        rng = np.random.default_rng(seed)
        scene = sample_scene(rng)
        return scene, render(scene, rng).tobytes()

    assert made(3) == made(3)
    assert made(3) != made(4)


def test_half_of_the_layouts_mirror() -> None:
    rng = np.random.default_rng(0)
    assert 0.45 < np.mean([sample_scene(rng).mirrored for _ in range(1000)]) < 0.55


@pytest.mark.parametrize(
    ("cells", "mirrored"),
    [({(0, 0), (0, 5)}, True), ({(0, 0), (0, 4)}, False), ({(0, 0), (1, 5)}, False)],
)
def test_is_mirrored_by_hand(cells: set[tuple[int, int]], mirrored: bool) -> None:
    assert is_mirrored(frozenset(cells)) is mirrored


@pytest.mark.parametrize(
    ("count", "crowd", "simple"),
    [
        (3, "few", True),
        (4, "few", True),
        (5, "some", False),
        (6, "many", False),
        (7, "many", False),
    ],
)
def test_crowd_and_simplicity_by_hand(count: int, crowd: str, simple: bool) -> None:
    things = tuple(Thing(0, column, "red", "cross") for column in range(count))
    scene = Scene("grass", "dark", False, things, ((5, 0), (5, 1)))
    assert (scene.crowd, scene.simple, scene.majority) == (crowd, simple, "red")
