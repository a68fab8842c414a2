"""The tables of docs/guides/models.md, from the tables in the code.

    python -m tests.docs.models     # writes them into the page

What depends on a checkpoint (which vision encoder a LLaVA has, say) is told of the configuration
that transformers has as its default.
"""

import re
from collections.abc import Iterator
from typing import Any

from transformers import CONFIG_MAPPING, AutoModel

from diysink.architectures import (
    ENCODERS,
    LVLMS,
    REFUSED_ENCODERS,
    REFUSED_LVLMS,
    LVLMFamily,
    UnsupportedModelError,
    encoder_family,
    key_module,
    shown_layers,
)
from tests.docs.commands import ROOT
from tests.model.languages import HEADS, LANGUAGES, POSITIONS, REFUSED

PAGE = ROOT / "docs/guides/models.md"


def encoders() -> Iterator[tuple[str, ...]]:
    """A row for each vision encoder."""
    yield ("vision encoder", "`model_type`", "measured alone", "attention shown", "image size")
    for name, row in ENCODERS.items():
        size = "any" if row.any_size else "its own"
        yield (
            name,
            ", ".join(f"`{kind}`" for kind in row.model_types),
            f"`{row.architecture}`" if row.architecture else "no",
            _yes(row.attention is not None),
            size if row.architecture else "as its model does it",
        )


def lvlms() -> Iterator[tuple[str, ...]]:
    """A row for each family of vision-language models."""
    yield (
        "`model_type`",
        "vision encoder",
        "a token's norm",
        "tiles",
        "positions",
        "attention shown",
        "a visual token is",
    )
    for kind, family in sorted(LVLMS.items()):
        # A DIYSink model is a LLaVA, and is looked into by itself.
        config: Any = CONFIG_MAPPING["llava" if kind == "diysink" else kind]()
        yield (
            f"`{kind}`",
            encoder_family(_vision(config)),
            family.mapping,
            _yes(family.tiles),
            "coordinates (M-RoPE)" if family.coordinates else "places",
            _shown(family, config),
            family.note,
        )


def _vision(config: Any) -> str:
    """The vision encoder; Gemma 4's default configuration has none."""
    return str(getattr(config.vision_config, "model_type", f"{config.model_type}_vision"))


def _shown(family: LVLMFamily, config: Any) -> str:
    """Whose attention analyses can show."""
    vision = ENCODERS[encoder_family(_vision(config))].attention is not None
    grid = family.mapping == "exact" and not family.tiles
    # Latent attention keeps no values, and no attention no weights.
    latent = hasattr(config.get_text_config(), "kv_lora_rank")
    parts = ["vision"] * (vision and grid) + ["language"] * (family.attends and not latent)
    return " and ".join(parts) or "no"


def languages() -> Iterator[tuple[str, ...]]:
    """A row for each kind of language model that is tested."""
    yield ("`model_type`", "trained and asked", "looked into, LSG")
    for kind, config in LANGUAGES.items():
        model = AutoModel.from_config(config())
        reason = {
            POSITIONS: "no: takes no positions",
            HEADS: "no: scales or caps its logits",
        }
        yield (
            f"`{kind}`",
            reason[REFUSED[kind]] if kind in REFUSED else "yes",
            _yes(_looked_into(model) and kind not in REFUSED),
        )


def _looked_into(model: Any) -> bool:
    try:
        for number, layer in enumerate(shown_layers(model)):
            key_module(layer, number)
    except UnsupportedModelError:
        return False
    return True


def refused(reasons: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """A row for each reason."""
    yield ("`model_type`", "why not")
    for reason in dict.fromkeys(reasons.values()):
        kinds = [f"`{kind}`" for kind, why in reasons.items() if why == reason]
        yield ", ".join(kinds), reason


def _yes(value: bool) -> str:
    return "yes" if value else "no"


TABLES = {
    "encoders": encoders,
    "lvlms": lvlms,
    "languages": languages,
    "refused encoders": lambda: refused(REFUSED_ENCODERS),
    "refused lvlms": lambda: refused(REFUSED_LVLMS),
}


def written(text: str) -> str:
    """A page with its tables as the code has them."""
    for name, rows in TABLES.items():
        head, *body = rows()
        lines = [head, ["---"] * len(head), *body]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        found = re.compile(rf"{begin}\n.*?{end}", re.DOTALL)
        assert len(found.findall(text)) == 1, name
        text = found.sub(lambda _, new=f"{begin}\n{table}\n{end}": new, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
