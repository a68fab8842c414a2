"""Every tiny model is built once; tests leave it as it was, which one of them checks."""

from functools import cache

import pytest

from tests.interventions.tiny_lvlms import BUILDERS, Tiny, build

built = cache(build)


@pytest.fixture(params=list(BUILDERS))
def tiny(request) -> Tiny:
    """Each family in turn."""
    return built(request.param)


@pytest.fixture(params=["llava", "internvl", "qwen2_5_vl"])
def shape(request) -> Tiny:
    """Three models of three shapes: one patch a token, tiles, coordinates as positions."""
    return built(request.param)


@pytest.fixture
def llava() -> Tiny:
    return built("llava")
