"""What ``parameters_prepare.yml`` may say; anything else is an error before work begins."""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from diysink.records import MAX_TEXT_BYTES, RECORDS_PER_SHARD, ImageLimits


@dataclass(frozen=True)
class SplitPaths:
    """Where one split of a user's data lies.

    Attributes:
        images: the image folder.
        records: JSON, parquet or a folder of parquet; None: every image is an item.
    """

    images: str
    records: str | None = None


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
        values["held_out"] = tuple(values.get("held_out") or ())
        shares = values.get("min_group_share") or {}
        values["min_group_share"] = {k: v for k, v in shares.items() if v is not None}
        options: Options = _build(cls, values, "prepare")
        if not options.splits and not options.generate:
            raise ValueError(
                "prepare: neither `splits` (your own data) nor `generate` (the miniature) is set; "
                "there is nothing to prepare. See docs/guides/your-data.md"
            )
        for name in (*options.splits, *options.generate):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise ValueError(
                    f"prepare: a split is called {name!r}; names become folders: use letters, "
                    "digits, - and _"
                )
        if not 0 <= options.quarantine_limit <= 1:
            raise ValueError(
                f"prepare.quarantine_limit is {options.quarantine_limit}; it is a share, 0 to 1"
            )
        return options

    @property
    def generated(self) -> bool:
        """Whether the miniature's data are made: only where no split is the user's own."""
        return not self.splits

    def paths(self, raw: Path) -> dict[str, tuple[Path | None, Path]]:
        """Records and image folder of each split; the miniature's lie in ``raw``."""
        if self.generated:
            return {name: (raw / f"{name}.json", raw / "images") for name in self.generate}
        return {
            name: (None if given.records is None else Path(given.records), Path(given.images))
            for name, given in self.splits.items()
        }


def _build(kind: Any, given: Any, where: str) -> Any:
    known = [each.name for each in fields(kind)]
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {given!r}; expected a mapping with {', '.join(known)}")
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{where} has unknown keys {unknown}; known are {', '.join(known)}")
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error
