"""Claims 5 to 7: how wide sinks look, what word they say, and what a probe reads from them.

Each is sinks against as many random nonsinks of the same images, paired over images.
Where rows of several layers are averaged, the interval is as wide as if all erred alike, because
they are of the same images.
"""

from collections.abc import Sequence

from diysink.claims.evidence import Evidence
from diysink.claims.parts import Estimate, Part, Row, above, clear, lacking

LESS, MATCHED, PLACE = "sink - random-matched", "random-matched", "place"


def relevance(found: Evidence, layer: int | None = None) -> list[Part]:
    """The maps of sinks are broader than those of matched tokens: higher spatial entropy.

    Matched tokens are the control: their whole interval is asked to lie below that of sinks.

    Args:
        found: the tables.
        layer: of the encoder; None = mean over all. Of each layer, the mean over its heads.
    """
    at = {"head": -1} | ({} if layer is None else {"layer": layer})
    sets = {
        name: [
            Estimate.of(row)
            for row in found.rows("relevance_analysis", metric="entropy", condition=name, **at)
        ]
        for name in (LESS, "sink", MATCHED)
    }
    if not all(sets.values()):
        return [lacking("maps of sinks and of matched tokens: run the analysis relevance")]
    less, sinks, matched = (Estimate.mean(rows) for rows in sets.values())
    of = f"mean over {len(sets[LESS])} layers" if layer is None else f"layer {layer}"
    return [
        above(f"spatial entropy of maps, sinks less matched tokens, {of}", less, 0.0, "change"),
        clear("entropy of matched tokens' maps", matched, sinks),
    ]


def words(found: Evidence) -> list[Part]:
    """A sink by itself says its image's word: more than another token, and not any image's."""
    rows = {
        (row["condition"], row["control"]): Estimate.of(row)
        for row in found.rows("words_analysis", metric="names its label", group="all")
    }
    if not {(LESS, "none"), ("sink", "none"), ("sink", "shuffled")} <= set(rows):
        return [lacking("words of single tokens, with both controls: run the analysis words")]
    return [
        above("tokens that say their image's word, sinks less matched tokens", rows[LESS, "none"],
              0.0, "difference"),
        clear("sinks that say another image's word", rows["sink", "shuffled"],
              rows["sink", "none"], "share"),
    ]  # fmt: skip


def probes(found: Evidence, layer: int | None = None, where: str = "vit") -> list[Part]:
    """A probe reads global attributes better from sinks, and local ones worse.

    Global: sinks against as many random nonsinks. Local: against the nonsinks at the place that
    the attribute is of, where the labels tell it, because a random token is rarely there; else
    against the random ones.

    Args:
        found: the tables.
        layer: None = the last that was probed: of the encoder, the one that feeds the connector.
        where: ``vit`` or ``llm``.
    """
    rows = found.rows("probes_analysis", metric="accuracy", where=where, group="all")
    if not rows:
        return [lacking("linear probes from sinks and other tokens: run the analysis probes")]
    at = max(row["layer"] for row in rows) if layer is None else layer
    less = {
        (row["scope"], row["condition"].removeprefix("sink - ")): Estimate.of(row)
        for row in rows
        if row["layer"] == at
    }
    read = found.rows("probes_analysis", metric="selectivity", where=where, layer=at)
    near = PLACE if ("local", PLACE) in less else MATCHED
    ahead = less.get(("global", MATCHED))
    behind = less.get(("local", near))
    return [
        *_scope("global", "sink", "sinks less random nonsinks", ahead, read),
        *_scope(
            "local",
            near,
            f"{'nonsinks at the place' if near == PLACE else 'random nonsinks'} less sinks",
            None if behind is None else behind.negative(),
            read,
        ),
    ]


def _scope(
    scope: str, better: str, says: str, difference: Estimate | None, read: Sequence[Row]
) -> list[Part]:
    """The difference the claim asks for; and that its better side is not a probe's own doing."""
    if difference is None:
        return [lacking(f"probes of a {scope} attribute: give the analysis labels such labels")]
    parts = [above(f"accuracy on {scope} attributes, {says}", difference, 0.0, "difference")]
    selective = [
        Estimate.of(row) for row in read if row["scope"] == scope and row["condition"] == better
    ]
    if not selective:
        return [*parts, lacking(f"selectivity of {scope} probes: run probes", control=True)]
    own = above(
        f"accuracy on {scope} attributes less that on shuffled labels, of the better side",
        Estimate.mean(selective),
        0.0,
        "difference",
    )
    return [*parts, own.as_control()]
