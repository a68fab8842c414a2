"""What was measured as a table of 80 columns, with what is to be reached."""

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.card.cards import TARGETS, Target

WIDTH, HOPPER = 80, "9.0"  # columns; compute capability
COLUMNS: dict[str, dict[str, tuple[str, str, float]]] = {  # key, format and factor of each
    "training": {
        "tokens/s": ("tokens_per_second", ",.0f", 1),
        "MFU": ("mfu", ".3f", 1),
        "HFU": ("hfu", ".3f", 1),
        "peak GB": ("peak_gb", ".1f", 1),
    },
    "extraction": {"images/s": ("images_per_second", ",.1f", 1), "share": ("share", ".3f", 1)},
    "answers": {
        "ms": ("seconds", ",.1f", 1000),
        "ratio": ("ratio", ".3f", 1),
        "tokens": ("tokens_read", "d", 1),
        "peak GB": ("peak_gb", ".1f", 1),
    },
}
COLUMNS["stock"] = COLUMNS["answers"]
JUDGED = {"training": "mfu", "extraction": "share", "answers": "ratio", "stock": "ratio"}


def target(section: str, name: str) -> Target | None:
    """What a measurement is to reach; answers have one for each way."""
    return TARGETS.get(name if section in ("answers", "stock") else section)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The table of a whole result, as :func:`benchmarks.gpu.measured` makes it."""
    card = found["card"]
    versions, peak = card["versions"], card["peak_tflops"]
    yield cut(f"{card['device']}, torch {versions['torch']}, driver {versions['driver']}")
    yield f"flash: torch's kernel alone; the flash-attn library: {versions['flash_attn']}"
    yield (
        f"MFU, HFU: shares of {peak} TFLOP/s, dense bf16"
        if peak
        else "the peak of this device is not known, so there is no MFU: see --peak-tflops"
    )
    for shapes, sections in found["results"].items():
        for section, groups in sections.items():
            for name, measurements in groups.items():
                yield from ("", cut(f"{shapes}, {section}: {name}"))
                judged = shapes == "7b" and "capability" in card
                judged &= section != "training" or card.get("capability") == HOPPER
                yield from group(section, measurements, judged=judged)


def group(section: str, measurements: Mapping[str, Any], *, judged: bool) -> Iterator[str]:
    """Lines of measurements that share their columns."""
    if "error" in measurements:
        yield cut(f"  {measurements['error']}")
        return
    columns = COLUMNS[section]
    yield line("", columns, "target" if judged else "")
    for name, result in measurements.items():
        if "error" in result:
            yield cut(f"  {name}: {result['error']}")
            continue
        wanted = target(section, name) if judged else None
        value = result.get(JUDGED[section])
        said = wanted.verdict(value) if wanted and value is not None else ""
        yield line(name, [cell(result, *column) for column in columns.values()], said)


def cell(result: Mapping[str, Any], key: str, form: str, factor: float) -> str:
    """A number, or a dash where there is none."""
    value = result.get(key)
    return "-" if value is None else format(value * factor, form)


def line(name: str, cells: Any, said: str) -> str:
    """A line of 80 columns at most."""
    numbers = "".join(f"{one:>9}" for one in cells)
    return cut(f"  {name:25}{numbers:36} {said}")


def cut(text: str) -> str:
    """As much of a text as a line has room for."""
    return text.rstrip()[:WIDTH]
