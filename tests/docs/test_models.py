"""The page of all models says what the code says, and each family is one that transformers has."""

import pytest
from transformers import CONFIG_MAPPING

from diysink.architectures import (
    ENCODERS,
    LVLMS,
    REFUSED_ENCODERS,
    REFUSED_LVLMS,
    UnsupportedModelError,
    lvlm_family,
)
from tests.docs.models import PAGE, written


def test_the_page_is_that_of_the_code() -> None:
    text = PAGE.read_text()
    assert written(text) == text, "run python -m tests.docs.models"


def test_every_family_is_one_that_transformers_has() -> None:
    supported = {kind for row in ENCODERS.values() for kind in row.model_types if row.architecture}
    refused = REFUSED_ENCODERS.keys() | REFUSED_LVLMS.keys()
    assert (LVLMS.keys() | supported | refused) - {"diysink"} - set(CONFIG_MAPPING.keys()) == set()
    assert not REFUSED_LVLMS.keys() & LVLMS.keys()


@pytest.mark.parametrize("kind", sorted(REFUSED_LVLMS))
def test_the_error_says_why(kind: str) -> None:
    with pytest.raises(UnsupportedModelError) as error:
        lvlm_family(kind)
    assert f"{kind!r}, which is not supported ({REFUSED_LVLMS[kind]})" in str(error.value)
