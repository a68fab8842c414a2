"""The best settings as a preset: a set of variants with the tuned ones, and their selectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pipelines.evaluate.settings import Evaluate

HEADER = "# Written by the stage tune, which replaces it. Copy it under another name to keep it.\n"
TUNED = "tuned"
"""Name of the set of variants, and with a study's name behind it of a variant and a selector."""


def preset_of(results: Mapping[str, Any], evaluate: "Evaluate", extends: str | None) -> str:
    """The text of a preset with the best setting of every study as a variant.

    ``tuned-<study>`` stands beside the variant that the study began with, and is compared with it.
    A selector of the same name is trained as the best trial's was.

    Args:
        results: of `search_settings`.
        evaluate: its variants are those of the preset, too.
        extends: the preset that the search was run with; None: base alone.
    """
    variants = evaluate.variants.model_dump(mode="json", exclude_defaults=True)
    variants["variants"] = {
        name: variant.plain() for name, variant in evaluate.variants.chosen.items()
    }
    variants["compare"] = [
        list(pair)
        for pair in evaluate.variants.compare
        if all(name in variants["variants"] for name in pair)
    ]
    selectors: dict[str, Any] = {}
    for study, found in results["studies"].items():
        name, best = f"{TUNED}-{study}", found["best"]["setting"]
        variant = best["variant"]
        if best["selector"] is not None:
            selectors[name] = best["selector"]
            variant = variant | {"selection": name}
        variants["variants"][name] = variant
        variants["compare"].append([name, found["variant"]])
    preset: dict[str, Any] = {} if extends is None else {"extends": extends}
    preset |= {"variant_sets": {TUNED: _short(variants)}, "evaluate": {"variants": TUNED}}
    if selectors:
        preset["reweight"] = {"selectors": selectors}
    said = "".join(f"# {line}\n" for line in sentences(results))
    return (
        HEADER + said + yaml.safe_dump(preset, sort_keys=False, default_flow_style=None, width=120)
    )


def sentences(results: Mapping[str, Any]) -> list[str]:
    """What each study found, in words."""
    level, lines = f"{100 * results['level']:g} %", []
    for study, found in results["studies"].items():
        for part, said in (("search", "the questions of the search"), ("confirm", "others")):
            if (pair := found[part]) is not None:
                lines.append(
                    f"{study}: {100 * pair['difference']:+.1f} points [{100 * pair['low']:+.1f}, "
                    f"{100 * pair['high']:+.1f}] over {found['variant']} on {said} "
                    f"({pair['items']} on {pair['images']} images; {level} interval)"
                )
    return lines


def is_ours(folder: Path) -> bool:
    """Whether a folder of conf may be written: there is none, or it holds such a preset alone."""
    if not folder.exists():
        return True
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return [path.name for path in files] == ["parameters.yml"] and files[0].read_text(
        "utf-8"
    ).startswith(HEADER)


def _short(variants: dict[str, Any]) -> dict[str, Any]:
    """Without what a variant says of nothing."""
    nothing: dict[str, Any] = {
        "arrangement": None, "selection": "both", "change": None, "options": {}, "control": "none",
    }  # fmt: skip
    shown = {
        name: {key: value for key, value in how.items() if nothing.get(key, ...) != value}
        for name, how in variants["variants"].items()
    }
    return variants | {"variants": shown}
