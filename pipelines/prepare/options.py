"""What ``parameters_prepare.yml`` may say; anything else is an error before work begins."""

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from diysink.artifact import check_name
from diysink.records import GROUPS, MAX_TEXT_BYTES, RECORDS_PER_SHARD, ImageLimits

# Of each group among the miniature's questions, which are made a third each.
GENERATED_SHARE = 0.2


@dataclass(frozen=True)
class SplitPaths:
    """Where one split of a user's data lies.

    Attributes:
        images: the image folder.
        records: JSON, parquet or a folder of parquet; None: every image is an item.
        allowed_roots: folders into which symbolic links in the image folder may lead.
    """

    images: str
    records: str | None = None
    allowed_roots: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("images", "records"):
            value = getattr(self, name)
            if not isinstance(value, str) and not (name == "records" and value is None):
                raise ValueError(f"{name} is {value!r}; expected a path")
        roots = () if self.allowed_roots is None else self.allowed_roots
        if not isinstance(roots, list | tuple) or not all(isinstance(each, str) for each in roots):
            raise ValueError(f"allowed_roots is {roots!r}; expected a list of folders")
        object.__setattr__(self, "allowed_roots", tuple(roots))


@dataclass(frozen=True)
class GeneratedSplit:
    """One split of the miniature; see ``diysink.miniature.llava.write_split``."""

    kind: str
    images: int
    questions: int = 3


@dataclass(frozen=True)
class Options:
    """The stage's parameters; each is explained in ``conf/base/parameters_prepare.yml``."""

    splits: dict[str, SplitPaths] = field(default_factory=dict)
    generate: dict[str, GeneratedSplit] = field(default_factory=dict)
    quarantine_limit: float = 0.01
    duplicate_ids: str = "quarantine"
    max_text_bytes: int = MAX_TEXT_BYTES
    image: ImageLimits = field(default_factory=ImageLimits)
    records_per_shard: int = RECORDS_PER_SHARD
    workers: int = 1
    decode_again: int = 500
    held_out: tuple[str, ...] = ("validation", "test")
    min_group_share: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check types and ranges of what the suites and the intake are given."""
        for name, least in (
            ("max_text_bytes", 1),
            ("records_per_shard", 1),
            ("workers", 1),
            ("decode_again", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(
                    f"prepare.{name} is {value!r}; expected a whole number from {least} on"
                )
        _check_share(self.quarantine_limit, "prepare.quarantine_limit", 1.0)
        for split, share in self.min_group_share.items():
            # Three groups cannot each have more than a third.
            _check_share(share, f"prepare.min_group_share.{split}", 1 / len(GROUPS))

    @classmethod
    def read(cls, prepare: dict[str, Any]) -> "Options":
        """Options from the value of ``prepare:``; a split set to null is left out.

        Raises:
            ValueError: an unknown key, a missing one, or no data at all.
        """
        values = dict(prepare)
        for name, kind in (("splits", SplitPaths), ("generate", GeneratedSplit)):
            values[name] = {
                split: _build(kind, given, f"prepare.{name}.{split}")
                for split, given in (values.get(name) or {}).items()
                if given is not None
            }
        values["image"] = _build(ImageLimits, values.get("image") or {}, "prepare.image")
        held_out = values.get("held_out") or ()
        if not isinstance(held_out, list | tuple):
            raise ValueError(f"prepare.held_out is {held_out!r}; expected a list of splits")
        values["held_out"] = tuple(held_out)
        shares = values.get("min_group_share") or {}
        values["min_group_share"] = {k: v for k, v in shares.items() if v is not None}
        options: Options = _build(cls, values, "prepare")
        if not options.splits and not options.generate:
            raise ValueError(
                "prepare: neither `splits` (your own data) nor `generate` (the miniature) is set; "
                "there is nothing to prepare. See docs/guides/your-data.md"
            )
        for name in (*options.splits, *options.generate):
            check_name(name, "prepare.splits" if name in options.splits else "prepare.generate")
        return options

    @property
    def generated(self) -> bool:
        """Whether the miniature's data are made: only where no split is the user's own."""
        return not self.splits

    @property
    def group_shares(self) -> dict[str, float]:
        """For each split that has a rule on its groups, the least share of each group.

        The miniature's questions are made to be balanced, so its splits of questions have the rule;
        a user's own data have it where the user asks for it.
        """
        made = self.generate if self.generated else {}
        own = {name: GENERATED_SHARE for name, split in made.items() if split.kind == "questions"}
        return own | self.min_group_share

    def sources(self, raw: Path) -> dict[str, tuple[Path | None, Path, tuple[str, ...]]]:
        """Records, image folder and allowed roots of each split; the miniature's lie in ``raw``."""
        if self.generated:
            return {name: (raw / f"{name}.json", raw / "images", ()) for name in self.generate}
        return {
            name: (
                None if given.records is None else Path(given.records),
                Path(given.images),
                given.allowed_roots,
            )
            for name, given in self.splits.items()
        }


def _check_share(value: object, where: str, most: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or math.isnan(value) or not 0 <= value <= most:  # type: ignore[arg-type, operator]
        raise ValueError(f"{where} is {value!r}; it is a share, 0 to {most:.3g}")


def _build(kind: Any, given: Any, where: str) -> Any:
    known = [each.name for each in fields(kind)]
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {given!r}; expected a mapping with {', '.join(known)}")
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{where} has unknown keys {unknown}; known are {', '.join(known)}")
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
