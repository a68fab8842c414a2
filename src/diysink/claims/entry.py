"""What a claim is: data. ``conf/base/parameters_claims.yml`` has those of the paper.

The values are checked where an entry is made, and names of tables and columns where it is judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from diysink.claims.estimate import UNITS
from diysink.claims.names import known
from diysink.claims.special import SPECIAL

INTERVAL = ("above", "below")
"""Rules for the whole interval of a number."""
VALUE = ("value at least", "value below")
"""Rules for a number that no sampling of images made."""
AHEAD = "ahead"
"""A variant is ahead in a comparison of answers that was planned (`diysink.claims.planned`)."""
FLAG = ("is", "is not")
"""A column of true and false, named by ``limit``."""


@dataclass(frozen=True)
class Part:
    """One thing that a claim needs: a row of a table, and a rule for its number.

    Attributes:
        where: columns of the row and their values: one value, a list (the first that there is),
            ``largest``, ``mean`` (over single layers, heads or groups) or ``each`` (a part for
            each).
        rule: one of the rules above, or a function of :data:`diysink.claims.special.SPECIAL`.
        table: its name.
        text: what is measured; ``{column}`` stands for a column of the row, ``{rows}`` for how
            many were averaged.
        limit: a number, a column of the row, or ``error``, which is 1 - level.
        per: a column that ``limit`` is multiplied with.
        than: the row that is compared with: how it differs from ``where``; ``limit`` is a factor
            of its number then, and 1 if there is none.
        smallest: smallest effect of interest, of ``above`` and ``ahead``; where there is none, the
            limit is it.
        less: a row that is subtracted: how it differs from ``where``.
        negative: the number is taken with the other sign.
        value: column of the number.
        unit: a key of :data:`diysink.claims.estimate.UNITS`.
        control: this is the claim's control.

    Raises:
        ValueError: an unknown rule or unit, no limit where the rule needs one, or a smallest effect
            that the rule does not take or that is below the limit.
    """

    where: Mapping[str, Any]
    rule: str
    table: str = "comparisons"
    text: str = "{variant} less {baseline}, {group} questions"
    limit: int | float | str | None = None
    per: str | None = None
    than: Mapping[str, Any] | None = None
    smallest: int | float | None = None
    less: Mapping[str, Any] | None = None
    negative: bool = False
    value: str = "value"
    unit: str = "number"
    control: bool = False

    def named(self, names: Mapping[str, Any]) -> "Part":
        """The part with ``$name`` in ``where`` and ``limit`` replaced.

        Raises:
            ValueError: an unknown name.
        """

        def value(given: Any) -> Any:
            if not isinstance(given, str) or not given.startswith("$"):
                return given
            known(given[1:], names, "role")
            return names[given[1:]]

        where = {column: value(given) for column, given in self.where.items()}
        return replace(self, where=where, limit=value(self.limit))

    def __post_init__(self) -> None:
        known(self.rule, [*INTERVAL, *VALUE, AHEAD, *FLAG, *SPECIAL], "rule")
        known(self.unit, UNITS, "unit")
        limited = self.limit is not None or (self.than is not None and self.rule in INTERVAL)
        if self.rule in (*INTERVAL, *VALUE, *FLAG) and not limited:
            raise ValueError(f"the rule {self.rule!r} without a limit")
        if self.smallest is not None and (self.rule not in ("above", AHEAD) or self.control):
            what = "a control" if self.control else f"the rule {self.rule!r}"
            raise ValueError(f"a smallest effect of {what}: only above and ahead take one")
        limit = 0 if self.rule == AHEAD else self.limit
        if self.smallest is not None and isinstance(limit, int | float) and self.smallest < limit:
            raise ValueError(f"a smallest effect of {self.smallest}, below the limit of {limit}")


@dataclass(frozen=True)
class Robustness:
    """Parts that are judged again at each value of an index.

    Attributes:
        name: of what is judged.
        index: ``tau``: sinks at multiples of the model's own tau; ``layer``: layer by layer.
        parts: which; none: those of the claim.
        where: in place of the same columns of the parts.
    """

    name: str
    index: Literal["layer", "tau"]
    parts: Sequence[Part] = ()
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        name: in a few words.
        claim: in our words.
        paper: the paper's figure.
        basis: where limits and smallest effects of interest are from.
        parts: all must be shown.
        built_in: true by construction where sinks were induced.
        why: what makes it so, or leaves it open.
        needs: parts without which nothing is measured: the measure must see what is there.
        robustness: what is judged again over an index.
    """

    name: str
    claim: str
    paper: str
    basis: str
    parts: Sequence[Part]
    built_in: Literal["yes", "partly", "no"]
    why: str
    needs: Sequence[Part] = ()
    robustness: Sequence[Robustness] = ()

    def named(self, names: Mapping[str, Any]) -> "Claim":
        """The claim with ``$name`` replaced in every part."""
        needs, parts = ([p.named(names) for p in ps] for ps in (self.needs, self.parts))
        robustness = [replace(r, parts=[p.named(names) for p in r.parts]) for r in self.robustness]
        return replace(self, needs=needs, parts=parts, robustness=robustness)

    @property
    def all_parts(self) -> list[Part]:
        """Every part, those of the robustness included."""
        return [*self.needs, *self.parts, *(part for one in self.robustness for part in one.parts)]
