"""Claims 5 to 7: how wide sinks look, what word they say, and what a probe reads from them.

Each is sinks against as many random non-sinks of the same images ("matched"). The tables give the
two with intervals of their own, so a difference's interval is ends against ends: wider than a
paired one, never narrower. Where several rows are averaged, the interval is as wide as if all of
them erred alike, because they are of the same images.
"""

from collections.abc import Sequence

from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, Row, above, clear, lacking


def relevance(found: Evidence, layer: int | None = None) -> list[Part]:
    """The maps of sinks are broader than those of other tokens: higher spatial entropy.

    Args:
        found: the tables.
        layer: of the encoder; None = mean over all layers. Heads are averaged.
    """
    wanted = {} if layer is None else {"layer": layer}
    rows = {
        tokens: [
            Estimate.of(row, "entropy", "entropy_low", "entropy_high")
            for row in found.rows("relevance", tokens=tokens, **wanted)
        ]
        for tokens in ("sink", "matched")
    }
    if not all(rows.values()):
        return [lacking("maps of relevance, and those of matched tokens: run `relevance`")]
    sinks, matched = (Estimate.mean(rows[tokens]) for tokens in ("sink", "matched"))
    return [
        above(
            "spatial entropy of sinks' maps less that of matched tokens, mean over "
            f"{len(rows['sink'])} heads and layers",
            sinks.less(matched),
            0.0,
            "change",
        ),
        clear("entropy of matched tokens' maps", matched, sinks),
    ]


def words(found: Evidence) -> list[Part]:
    """A sink by itself says the image's word more often than another token, and not any image's."""
    rows = {(row["tokens"], row["labels"]): Estimate.of(row) for row in found.rows("word_naming")}
    wanted = {("sink", "true"), ("matched", "true"), ("sink", "shuffled")}
    if not wanted <= set(rows):
        return [lacking("words of single tokens, with both controls: run the analysis `words`")]
    sinks = rows["sink", "true"]
    return [
        above(
            "the true word's share, sinks less matched tokens",
            sinks.less(rows["matched", "true"]),
            0.0,
            "difference",
        ),
        clear("share with words shuffled over images", rows["sink", "shuffled"], sinks, "share"),
    ]


SCOPES = {"global": 1, "local": -1}
"""Which way sinks should differ from other tokens, by what an attribute is of."""


def probes(found: Evidence, layer: int | None = None, where: str = "vit") -> list[Part]:
    """A probe reads global attributes better from sinks, and local ones worse.

    Args:
        found: the tables.
        layer: None = the last that was probed: the one that feeds the connector.
        where: ``vit`` or ``llm``.
    """
    rows = found.rows("probes", where=where)
    if not rows:
        return [lacking("linear probes from sinks and matched tokens: run the analysis `probes`")]
    at = max(row["layer"] for row in rows) if layer is None else layer
    return [
        part
        for scope, sign in SCOPES.items()
        for part in _scope([r for r in rows if r["layer"] == at and r["scope"] == scope], sign)
    ]


def _scope(rows: Sequence[Row], sign: int) -> list[Part]:
    by = {(row["attribute"], row["source"]): row for row in rows}
    attributes = sorted({a for a, _ in by if {(a, "sink"), (a, "matched")} <= set(by)})
    scope = "global" if sign > 0 else "local"
    if not attributes:
        return [lacking(f"probes of a {scope} attribute: give the analysis `probes` its labels")]
    better, worse = ("sink", "matched") if sign > 0 else ("matched", "sink")
    read = Estimate.mean([Estimate.of(by[a, better]) for a in attributes])
    other = Estimate.mean([Estimate.of(by[a, worse]) for a in attributes])
    # What the same probe reads where labels are shuffled: accuracy less selectivity.
    chance = Estimate.mean([_shuffled(by[a, better]) for a in attributes])
    names = {"sink": "sinks", "matched": "matched tokens"}
    return [
        above(
            f"accuracy on {scope} attributes ({', '.join(attributes)}), {names[better]} less "
            f"{names[worse]}",
            read.less(other),
            0.0,
            "difference",
        ),
        clear(f"the same from {names[better]}, labels shuffled", chance, read, "share"),
    ]


def _shuffled(row: Row) -> Estimate:
    """Accuracy less selectivity; the table has no interval of it."""
    value = float(row["value"] - row["selectivity"])
    return Estimate(value, value, value, 0)
