"""Which conclusions depend on tau, or on the layer that was looked at.

Attention and norms of every token are on disk, so there another tau is another mask. What tokens
carry is measured again with the sinks of another tau, by a model that was trained without telling
sinks apart. What would need the training again (accuracies of models that do) is not here, and the
page says so. Over layers, what the analyses measured layer by layer is judged layer by layer.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy import ndarray

from diysink.analysis.attention_measures import Measures, shuffled_order
from diysink.claims import attention, contents
from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, Verdict, above, clear, conclude
from diysink.resampling import Bootstrap, ratio_interval

MEAN = -1
"""In place of a layer: the mean over all of them."""
COLUMNS = [
    "parameter", "setting", "claim", "value", "low", "high", "n_images", "verdict", "chosen",
    "flips",
]  # fmt: skip


def over_tau(
    visual_attention: pd.DataFrame,
    tau: float,
    multiples: Sequence[float],
    *,
    share: float,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Sinks per image, and the attention that they get, at multiples of the calibrated tau.

    Args:
        visual_attention: one row per question and visual token: id, image, token, norm, attention.
        tau: the calibrated one.
        multiples: of tau; 1 must be among them.
        share: largest share of tokens that may be sinks.
        resamples: bootstrap resamples of the images.
        level: of the intervals.
        seed: of the bootstrap and of the control's order.

    Returns:
        ``parameter, setting`` (the multiple), ``claim, value, low, high, n_images, verdict,
        chosen`` (this is the run's own setting), ``flips`` (holds where that does not, or the other
        way round; what could not be measured flips nothing).

    Raises:
        ValueError: 1 is not among the multiples.
    """
    _need_one(multiples)
    items = visual_attention.drop_duplicates("id")
    shape = (len(items), -1)
    norms, seen = (
        visual_attention[name].to_numpy(np.float64).reshape(shape) for name in ("norm", "attention")
    )
    images = items["image"].tolist()
    options: dict[str, Any] = {"resamples": resamples, "level": level, "seed": seed}
    order = shuffled_order(norms.shape, seed)
    few: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    for multiple in multiples:
        sinks = norms >= multiple * tau
        part = _few(sinks, images, share, options)
        few.append(_row("tau", float(multiple), "sinks per image", [part]))
        one = Measures(
            seen, pd.factorize(np.asarray(images, dtype=object), sort=True)[0],
            Bootstrap(resamples, level, seed),
        )  # fmt: skip
        everyone = np.ones(len(items), dtype=np.bool_)
        tables = [
            pd.DataFrame(one.by_kind(mask, everyone, "all")).assign(norms=name)
            for name, mask in (
                ("true", sinks),
                ("shuffled", np.take_along_axis(sinks, order, 1)),
            )
        ]
        tables = [t.assign(kind=t["condition"].replace("sink / nonsink", "ratio"))
                  for t in tables if len(t)]  # fmt: skip
        made = {"attention_by_kind": pd.concat(tables)} if tables else {}
        found = Evidence(made, "", level=level)
        parts = attention.attention_ratio(found)
        ratios.append(_row("tau", float(multiple), "attention: sink over other", parts))
    rows = [
        row
        for line in (few, ratios)
        for row in _flips(line, 1.0, next(r["verdict"] for r in line if r["setting"] == 1))
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def over_masks(sweep: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """What tokens carry, judged with sinks at multiples of the calibrated tau.

    Args:
        sweep: rows of the tables of probes, relevance and words, with ``analysis`` and ``tau``, the
            multiple; 1 is among them. An analysis without rows is not judged.
        level: of the intervals.

    Returns:
        As :func:`over_tau`.

    Raises:
        ValueError: 1 is not among the multiples.
    """
    if sweep.empty:
        return pd.DataFrame(columns=COLUMNS)
    _need_one(sweep["tau"].tolist())
    found = {
        times: Evidence(
            {f"{name}_analysis": table for name, table in part.groupby("analysis")}, "", level=level
        )
        for times in sorted(map(float, sweep["tau"].unique()))
        for part in [sweep[sweep["tau"] == times]]
    }
    rows: list[dict[str, Any]] = []
    for claim, name, judged in (
        ("relevance broad", "relevance", contents.relevance),
        ("words of sinks", "words", contents.words),
        ("probes, vit", "probes", contents.probes),
    ):
        if name not in set(sweep["analysis"]):
            continue
        line = [_row("tau", times, claim, judged(of)) for times, of in found.items()]
        rows += _flips(line, 1.0, str(conclude(judged(found[1.0]))))
    return pd.DataFrame(rows, columns=COLUMNS)


def _need_one(multiples: Sequence[float]) -> None:
    if 1.0 not in [float(times) for times in multiples]:
        raise ValueError(f"multiples {list(multiples)}: 1, the calibrated tau, must be among them")


def over_layers(found: Evidence) -> pd.DataFrame:
    """What was measured in several layers, judged in each.

    Returns:
        As :func:`over_tau`; the setting is the layer, or `MEAN` of all of them. Chosen is what the
        claim itself looks at: the mean for attention and relevance, the encoder's last layer for
        probes. Probes inside the language model are compared with that one, too.
    """
    rows: list[dict[str, Any]] = []
    lines: list[tuple[str, list[int], Callable[[int], list[Part]], int | None]] = []
    seen = _layers(found, "attention_by_layer")
    lines.append(("attention: sink less other", [MEAN, *seen], partial(_by_layer, found), MEAN))
    seen = _layers(found, "relevance_analysis", metric="entropy")
    lines.append(("relevance broad", [MEAN, *seen], partial(_relevance, found), MEAN))
    for where in ("vit", "llm"):
        seen = _layers(found, "probes_analysis", where=where, group="all")
        last = max(seen, default=0) if where == "vit" else None
        lines.append((f"probes, {where}", seen, partial(contents.probes, found, where=where), last))
    for claim, layers, judged, chosen in lines:
        if layers in ([], [MEAN]):
            continue
        own = judged(chosen) if chosen is not None else contents.probes(found)
        each = [_row("layer", float(layer), claim, judged(layer)) for layer in layers]
        rows += _flips(each, None if chosen is None else float(chosen), str(conclude(own)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _layers(found: Evidence, table: str, **wanted: Any) -> list[int]:
    return sorted({int(row["layer"]) for row in found.rows(table, **wanted) if row["layer"] >= 0})


def _relevance(found: Evidence, layer: int) -> list[Part]:
    return contents.relevance(found, None if layer == MEAN else layer)


def _by_layer(found: Evidence, layer: int) -> list[Part]:
    """Attention per V-sink less that per nonsink in one layer, and its control."""
    rows = {
        (row["mask"], row["kind"]): Estimate.of(row)
        for row in found.rows("attention_by_layer", layer=layer, head=-1)
    }
    wanted = [(mask, kind) for mask in ("true", "shuffled") for kind in ("vsink", "nonsink")]
    if not set(wanted) <= set(rows):
        return []
    true, shuffled = (rows[m, "vsink"].less(rows[m, "nonsink"]) for m in ("true", "shuffled"))
    return [
        above("attention per sink less per other token", true, 0.0, "change"),
        clear("the same with the mask shuffled", shuffled, true, "change"),
    ]


def _few(
    sinks: Bool[ndarray, "items tokens"], images: Sequence[str], share: float, options: Any
) -> Part:
    """Asks that images have sinks, and few."""
    codes, names = pd.factorize(np.asarray(images, dtype=object), sort=True)
    counts: Float[ndarray, "images 1"] = np.bincount(codes).astype(np.float64)[:, None]
    sums = np.bincount(codes, sinks.sum(1))[:, None].astype(np.float64)
    low, high = ratio_interval(sums, counts, **options)
    estimate = Estimate(float(sums.sum() / counts.sum()), float(low[0]), float(high[0]), len(names))
    limit = share * sinks.shape[1]
    return Part(
        "sinks in an image",
        f"interval above 0 and at most {limit:g}",
        estimate.low > 0 and estimate.high <= limit,
        estimate,
    )


def _row(parameter: str, setting: float, claim: str, parts: list[Part]) -> dict[str, Any]:
    estimate = next((p.estimate for p in parts if p.estimate is not None), None)
    nothing = float("nan")
    return {
        "parameter": parameter,
        "setting": float(setting),
        "claim": claim,
        "value": estimate.value if estimate else nothing,
        "low": estimate.low if estimate else nothing,
        "high": estimate.high if estimate else nothing,
        "n_images": estimate.n_images if estimate else 0,
        "verdict": str(conclude(parts)),
    }


def _flips(rows: list[dict[str, Any]], chosen: float | None, own: str) -> list[dict[str, Any]]:
    """Mark the chosen setting, and verdicts that contradict the claim's own."""
    contrary = {
        str(Verdict.HOLDS): Verdict.DOES_NOT_HOLD,
        str(Verdict.DOES_NOT_HOLD): Verdict.HOLDS,
    }
    against = str(contrary[own]) if own in contrary else None
    return [
        {**row, "chosen": row["setting"] == chosen, "flips": row["verdict"] == against}
        for row in rows
    ]
