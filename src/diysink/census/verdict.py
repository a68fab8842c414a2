"""What kind of sinks an encoder has, from its numbers at every layer.

A fixed place is a kind of sink, not a failure: such encoders are reported and used. The limits are
this project's choices; they are in the card's sentences.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diysink.sinks import SinkProfile, Type

Kind = Type | Literal["attention only"]
ATTENDED = 10.0  # times the median: what a token without any part in the image receives at least
EVENTS = 0.05  # share of heads


@dataclass(frozen=True)
class Found:
    """One kind of sink.

    Attributes:
        type: ``background`` (on plain patches, driven by content), ``fixed place``, ``object``
            (on patches with more detail than others), ``place unknown``, ``attention only`` (no
            norms, but a token that is attended to far more than others) or ``none``.
        layers: where it is found.
        evidence: sentences.
    """

    type: Kind
    layers: tuple[int, ...]
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What there is, in three sentences and by kind.

    Attributes:
        lines: norms, attention, heads.
        types: every kind that was found; ``none`` alone if nothing was.
        onset: the first layer with a second population of norms; None: there is none.
        last: the last layer with one.
    """

    lines: tuple[str, str, str]
    types: tuple[Found, ...]
    onset: int | None
    last: int | None


def judge(
    layers: Sequence[Mapping[str, Any]],
    profiles: Mapping[int, SinkProfile],
    model: Mapping[str, Any],
) -> Verdict:
    """The verdict of all layers.

    Args:
        layers: of the card.
        profiles: of each layer.
        model: of the card: its name.
    """
    kinds = {layer: profile.type for layer, profile in profiles.items()}
    types = []
    for kind in dict.fromkeys(kind for kind in kinds.values() if kind != "none"):
        where = tuple(layer for layer, own in kinds.items() if own == kind)
        said = [one.says for one in profiles[where[-1]].evidence]
        types.append(Found(kind, where, tuple(f"Layer {where[-1]}: {line}" for line in said)))
    high_norm = [layer for layer, kind in kinds.items() if kind != "none"]
    attended = [one["layer"] for one in layers if _low(one, "concentration") >= ATTENDED]
    silent = tuple(layer for layer in attended if layer not in high_norm)
    if silent:
        top = max((one for one in layers if one["layer"] in silent), key=_concentration)
        types.append(Found("attention only", silent, (_attention_line(top),)))
    if not types:
        types = [Found("none", tuple(kinds), ("No layer has a second population of norms, and no "
                 f"token receives {ATTENDED:g} times the median attention.",))]  # fmt: skip
    lines = (_norm_line(layers, profiles, kinds), _attended(layers), _heads_line(layers))
    onset, last = (high_norm[0], high_norm[-1]) if high_norm else (None, None)
    return Verdict(lines, tuple(types), onset, last)


def _norm_line(
    layers: Sequence[Mapping[str, Any]],
    profiles: Mapping[int, SinkProfile],
    kinds: Mapping[int, Type],
) -> str:
    high_norm = [layer for layer, kind in kinds.items() if kind != "none"]
    if not high_norm:
        ratios = {
            one["layer"]: one["metrics"]["norm_max"]["value"]
            / one["metrics"]["norm_median"]["value"]
            for one in layers
        }
        worst = max(ratios, key=lambda layer: ratios[layer])
        return (
            "No credible high-norm sinks: no layer has a second population of norms (the largest "
            f"norm of an image is at most {ratios[worst]:.2g} times its median, at layer {worst})."
        )
    middle = max(high_norm, key=lambda layer: profiles[layer].mean_sinks)
    one = next(one for one in layers if one["layer"] == middle)["metrics"]
    return (
        f"High-norm sinks ({', '.join(dict.fromkeys(kinds[layer] for layer in high_norm))}) at "
        f"{_span(high_norm)}: {profiles[middle].mean_sinks:.2g} an image at layer {middle}, where "
        f"the largest norm is {one['norm_max']['value'] / one['norm_median']['value']:.2g} times "
        "the median."
    )


def _attended(layers: Sequence[Mapping[str, Any]]) -> str:
    known = [one for one in layers if _value(one, "concentration") is not None]
    if not known:
        return "The attention of this encoder cannot be seen."
    return _attention_line(max(known, key=_concentration))


def _attention_line(one: Mapping[str, Any]) -> str:
    shares = {
        kind: _value(one, f"received_{kind}") or 0.0 for kind in ("class", "register", "patch")
    }
    kind = max(shares, key=lambda name: shares[name])
    what = {"class": "the class token", "register": "a register", "patch": "a patch"}[kind]
    ratio, share = _concentration(one), _value(one, "top_share") or 0.0
    clear = _low(one, "concentration") >= ATTENDED
    kept = "Attention has a sink" if clear else "Attention has no clear sink"
    return (
        f"{kept}: at layer {one['layer']} the most attended token receives {ratio:.3g} times the "
        f"median ({share:.0%} of all; a clear sink has {ATTENDED:g} times); in "
        f"{shares[kind]:.0%} of the heads it is {what}."
    )


def _heads_line(layers: Sequence[Mapping[str, Any]]) -> str:
    known = [one for one in layers if _value(one, "event") is not None]
    if not known:
        return "What heads do at their sinks cannot be seen."
    top = max(known, key=lambda one: _value(one, "event") or 0.0)
    event = _value(top, "event") or 0.0
    if event < EVENTS:
        return (
            f"Hardly any head has a sink event (at most {event:.1%}, at layer {top['layer']}): no "
            "token takes half of the attention of nearly all queries."
        )
    parts = [(_value(top, name), name) for name in ("nop", "broadcast")]
    said = " and ".join(
        f"{share / event:.0%} are {'NOPs' if name == 'nop' else 'broadcasts'}"
        for share, name in parts
        if share is not None
    )
    return f"{event:.0%} of the heads have a sink event at layer {top['layer']}" + (
        f"; of these {said}." if said else "; what the sink adds is not known."
    )


def _value(one: Mapping[str, Any], name: str) -> float | None:
    found = one["metrics"].get(name)
    return None if found is None else float(found["value"])


def _low(one: Mapping[str, Any], name: str) -> float:
    found = one["metrics"].get(name)
    return 0.0 if found is None else float(found["low"])


def _concentration(one: Mapping[str, Any]) -> float:
    return _value(one, "concentration") or 0.0


def _span(layers: Sequence[int]) -> str:
    whole = list(range(layers[0], layers[-1] + 1)) == list(layers)
    if len(layers) == 1:
        return f"layer {layers[0]}"
    return (
        f"layers {layers[0]} to {layers[-1]}" if whole else f"layers {', '.join(map(str, layers))}"
    )
