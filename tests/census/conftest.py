import pytest

from tests.census.made import make_card, make_example


@pytest.fixture(scope="session")
def card():
    return make_card()


@pytest.fixture(scope="session")
def examples():
    return [make_example("one.jpg"), make_example("two.jpg", seed=1, sink=13)]
