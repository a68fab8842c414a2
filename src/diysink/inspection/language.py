"""The language part of a card, from the sums over all images: cells with intervals, and sentences.

A ratio is one of two means, and a number of the whole model is a mean over its layers; the
replicates of both are made of the same draws, so that the interval is of the ratio itself.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from diysink.census.card import cell
from diysink.census.language import QUANTITIES, VERSION
from diysink.census.metrics import Rows
from diysink.inspection.flow import QUERIES
from diysink.inspection.sums import Sums, Values

OVERALL = ("sinks", "random", "others", "lsinks", "first", "image", "taken")
Cell = dict[str, Any] | None


def language_part(
    layerwise: Sums, whole: Sums, about: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Values]]:
    """The part as plain JSON, and the replicates behind it.

    Args:
        layerwise: of every layer.
        whole: of the connector and of the answers.
        about: what is known beside them: ``model``, ``question``, ``threshold``, ``images``.
    """
    rows: dict[str, Values] = {name: layerwise.mean(name) for name in sorted(layerwise.names)}
    overall: dict[str, Rows] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for query in QUERIES:
            means = {kind: _over_layers(rows[f"{query}_{kind}"]) for kind in OVERALL}
            overall |= {f"{query}_{kind}": mean for kind, mean in means.items()}
            beside = rows.pop(f"{query}_beside")
            for kind, name in (("sinks", "ratio"), ("random", "ratio_random")):
                rows[f"{query}_{name}"] = rows[f"{query}_{kind}"] / beside
                overall[f"{query}_{name}"] = means[kind] / _over_layers(beside)
    images = int(about["images"]["count"])
    layers = [
        {"layer": place + 1, "metrics": {n: _cell(v[place], n, images) for n, v in rows.items()}}
        for place in range(len(next(iter(rows.values()))))
    ]
    single = {name: whole.mean(name)[0] for name in sorted(whole.names)}
    answers = {name for name in single if "answers" in name or "massive" in name}
    part: dict[str, Any] = {
        "version": VERSION,
        "lacks": None,
        **about,
        "connector": {n: _cell(rows, n, images) for n, rows in single.items() if n not in answers},
        "overall": {n: _cell(value, n, images) for n, value in overall.items()},
        "answers": {n: _cell(single[n], n, images) for n in sorted(answers)} if answers else None,
        "layers": layers,
    }
    part["lines"] = sentences(part)
    kept = rows | {name: value[None] for name, value in single.items()}
    kept |= {f"{name}/mean": value[None] for name, value in overall.items()}
    return part, {f"language/{name}": value for name, value in kept.items()}


def sentences(part: Mapping[str, Any]) -> list[str]:
    """What the sinks come to in the language model, in one to three sentences."""
    lines = [_connector(part["connector"]), _attention(part)]
    if part["answers"]:
        lines.append(_answers(part["answers"]))
    return [line for line in lines if line]


def _connector(found: Mapping[str, Cell]) -> str:
    after, before = found["connector_norm_ratio"], found["encoder_norm_ratio"]
    if after is None or before is None:
        return "No image has a V-sink among its visual tokens, so that none reaches the connector."
    cosines = found["connector_cosine"], found["connector_cosine_random"]
    alike = "".join(
        f"{' with' if first else ','} {said} of {one['value']:.2f}"
        for first, said, one in zip(
            (True, False), ("a cosine among them", "of random others"), cosines, strict=True
        )
        if one is not None
    )
    return (
        f"The connector gives V-sinks {after['value']:.2g} times the median norm of the other "
        f"tokens ({before['value']:.2g} times before it){alike}."
    )


def _attention(part: Mapping[str, Any]) -> str:
    overall = part["overall"]
    ratio, random = overall["last_ratio"], overall["last_ratio_random"]
    if ratio is None:
        return "" if overall["last_others"] else "No layer of the language model shows attention."
    known = [one for one in part["layers"] if one["metrics"].get("last_ratio")]
    top = max(known, key=lambda one: one["metrics"]["last_ratio"]["value"])
    most = top["metrics"]["last_ratio"]["value"]
    first, sinks = overall["last_first"], overall["last_sinks"]
    control = "" if random is None else f"; a random one gets {random['value']:.2g} times"
    beside = "" if first is None else f", the first token {first['value']:.2g} times"
    known_interval = ratio["low"] is not None
    if known_interval and ratio["low"] > max(1.0, random["high"] if random else 1.0):
        verdict = "V-sinks are looked at more than other visual tokens"
    elif known_interval and ratio["high"] < 1:
        verdict = "V-sinks are looked at less than other visual tokens"
    else:
        verdict = "V-sinks are not clearly looked at more than other visual tokens"
    return (
        f"{verdict}: from the prompt's last token one gets {_told(ratio)} times what another gets "
        f"(mean of layers; most at layer {top['layer']}: {most:.2g}){control}. A V-sink gets "
        f"{sinks['value']:.2g} times an even share{beside}."
    )


def _answers(found: Mapping[str, Cell]) -> str:
    same, random = found["same_answers"], found["same_answers_random"]
    many = found["massive_dimensions"]
    if same is None or random is None or many is None:
        return (
            "No dimension of V-sinks is massive after the connector, so that there was nothing to "
            "take out before the language model."
        )
    return (
        f"Without the massive dimensions of V-sinks ({many['value']:.2g} an image) "
        f"{_told(same, 100)} % of the answers stay the same; without as many random ones "
        f"{_told(random, 100)} %."
    )


def _told(found: Mapping[str, Any], scale: float = 1.0) -> str:
    value, low, high = (found[key] for key in ("value", "low", "high"))
    said = f"{scale * value:.3g}"
    return said if low is None else f"{said} [{scale * low:.3g}, {scale * high:.3g}]"


def _cell(rows: Rows, name: str, images: int) -> Cell:
    """As in the encoder's part; an interval that there is not is null."""
    found = cell(rows, QUANTITIES.get(name), images)
    return found and {k: number if np.isfinite(number) else None for k, number in found.items()}


def _over_layers(values: Values) -> Rows:
    """Mean over the layers that show something."""
    there = np.isfinite(values[:, 0])
    if not there.any():
        return np.full(values.shape[1], np.nan)
    mean: Rows = values[there].mean(0)
    return mean
