"""The sink profile: all that training needs to know of an encoder, as one versioned JSON file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from diysink.artifact import BrokenFileError, digest_json, load_json, write_json
from diysink.encoders import EncoderIdentity
from diysink.sinks.criteria import token_norms
from diysink.sinks.threshold import Threshold

VERSION = 2
BEYOND_NORMS = ("position", "content", "attention")  # questions that norms do not answer
Method = Literal["gap", "drop", "fixed", "median"]
Type = Literal["background", "fixed place", "object", "place unknown", "none"]
POPULATION = ("grid", "populations", "norm", "stability", "few")  # asks for a second population
DESCRIBES = ("position",)  # tells the type of sinks, not whether there are any


class ProfileMismatchError(ValueError):
    """A profile was made for another encoder or another layer."""


@dataclass(frozen=True)
class Evidence:
    """One question that the verdict asks, and what the data say.

    Attributes:
        name: of the question.
        passed: whether the answer speaks for sinks.
        value: what was measured; None where it could not be.
        interval: 95 % bootstrap interval over images; None where there is none.
        threshold: what ``value`` was held against.
        says: the answer in words.
    """

    name: str
    passed: bool
    value: float | None
    interval: tuple[float, float] | None
    threshold: float
    says: str


@dataclass(frozen=True)
class Rival:
    """Another gap of the histogram than the one that tau lies in: another threshold.

    Attributes:
        tau: the threshold that it would give; ``method: fixed`` chooses it.
        depth: 1 where the valley is empty, 0 where there is none.
        width: of an empty valley that would weigh as much, in octaves of norm.
        sinks_per_image: mean number of tokens above it.
    """

    tau: float
    depth: float
    width: float
    sinks_per_image: float


@dataclass(frozen=True)
class SinkProfile:
    """What a sink is for one encoder at one layer, and how sure we are.

    Attributes:
        encoder: for which encoder and layer.
        tau: tokens with an L2 norm of at least this are sinks; None where none could be told apart
            (then nothing is a sink).
        method: how tau was found: ``gap`` and ``drop`` (calibrated), ``fixed``, ``median`` (a
            multiple of it).
        interval: 95 % bootstrap interval of tau over images; None for a fixed tau.
        found: the verdict: whether there are credible sinks, which every question but
            `DESCRIBES` has to speak for; where norms alone were measured, whether norms speak for
            them, which is less (`not_looked_at`).
        evidence: why.
        sink_dimensions: hidden dimensions that carry far more of a sink's energy than of the
            other tokens'.
        edges: norms at the edges of the histogram's bins; relative ones, if tau is.
        histogram: tokens in each bin, one fewer than ``edges``.
        sinks_per_image: how many images have 0, 1, 2, ... sinks.
        grid: rows and columns of patches; 0 and 0 where norms alone were measured.
        settings: what the calibration was asked for.
        rivals: the other gaps, the widest first; none where tau was given.
        relative: whether tau, as all norms here, is a multiple of the median norm of the image.
        criterion: the observable that decides the mask.
        version: of this format.
    """

    encoder: EncoderIdentity
    tau: float | None
    method: Method
    interval: tuple[float, float] | None
    found: bool
    evidence: tuple[Evidence, ...]
    sink_dimensions: tuple[int, ...]
    edges: tuple[float, ...]
    histogram: tuple[int, ...]
    sinks_per_image: tuple[int, ...]
    grid: tuple[int, int]
    settings: Mapping[str, Any]
    rivals: tuple[Rival, ...] = ()
    relative: bool = False
    criterion: Literal["norm"] = "norm"
    version: int = VERSION

    @property
    def layer(self) -> int:
        """Index into the hidden states."""
        return self.encoder.layer

    @property
    def images(self) -> int:
        """How many images were measured."""
        return sum(self.sinks_per_image)

    @property
    def share_without(self) -> float:
        """Share of images without any sink; they fall back to nonsinks."""
        return self.sinks_per_image[0] / self.images if self.images else 1.0

    @property
    def mean_sinks(self) -> float:
        """Mean number of sinks in an image."""
        total = sum(count * images for count, images in enumerate(self.sinks_per_image))
        return total / self.images if self.images else 0.0

    @property
    def not_looked_at(self) -> tuple[str, ...]:
        """Questions of the verdict that were not asked, because norms alone were measured."""
        return BEYOND_NORMS if self.grid == (0, 0) else ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """In words: what speaks for the verdict (all evidence if found, else what failed).

        What was not looked at is said last.
        """
        reasons = tuple(one.says for one in self.evidence if self.found or not one.passed)
        if not self.not_looked_at:
            return reasons
        return (
            *reasons,
            "Norms alone were measured: not looked at is whether these tokens sit at fixed places "
            "(position), show what has most detail (content), and are attended to (attention).",
        )

    @property
    def verdict(self) -> str:
        """``found`` (``by norms alone``, ``at a fixed place``) or ``no credible sinks``."""
        if not self.found:
            return "no credible sinks"
        if self.type == "fixed place":
            return "found at a fixed place"
        return "found by norms alone" if self.not_looked_at else "found"

    @property
    def type(self) -> Type:
        """What kind of tokens the second population of norms is.

        ``none``: there is no second population. ``place unknown``: norms alone were measured.
        ``fixed place``: at few positions whatever the image. ``object``: where the image has more
        detail than elsewhere. ``background``: neither.
        """
        evidence = {one.name: one for one in self.evidence}
        asked = [evidence.get(name) for name in POPULATION]
        if self.tau is None or not all(one is not None and one.passed for one in asked):
            return "none"
        if "position" not in evidence:
            return "place unknown"
        if not evidence["position"].passed:
            return "fixed place"
        content = evidence["content"].value
        return "object" if content is not None and content > 1 else "background"

    @property
    def digest(self) -> str:
        """SHA-256 of the profile's content."""
        return digest_json(self.to_dict())

    def mask(self, hidden: Float[Tensor, "batch tokens dim"]) -> Bool[Tensor, "batch tokens"]:
        """Which tokens are sinks. Make it once from the encoder's output and pass it on."""
        return self.threshold.mask(token_norms(hidden))

    @property
    def threshold(self) -> Threshold:
        """What decides the mask."""
        return Threshold(self.tau, self.relative)

    def check(self, identity: EncoderIdentity) -> None:
        """Refuse another encoder or layer.

        Raises:
            ProfileMismatchError: the weights up to the layer, the layer or the family differ.
        """
        mine, other = self.encoder, identity
        if (mine.digest, mine.layer, mine.family) != (other.digest, other.layer, other.family):
            raise ProfileMismatchError(
                f"This sink profile is for {mine.family} {mine.name} at layer {mine.layer} "
                f"(weights {mine.digest[:12]}), not for {other.family} {other.name} at layer "
                f"{other.layer} (weights {other.digest[:12]}). Measure that encoder with the sinks "
                "pipeline."
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"settings": dict(self.settings)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "SinkProfile":
        """From what `to_dict` gave.

        Raises:
            ValueError: for another version, or a field that is missing or not known.
        """
        if value.get("version") != VERSION:
            raise ValueError(
                f"A sink profile of version {value.get('version')!r}; this program reads version "
                f"{VERSION}. Measure the encoder again with the sinks pipeline."
            )
        fields = dict(value)
        try:
            fields["encoder"] = EncoderIdentity.from_dict(fields["encoder"])
            fields["evidence"] = tuple(
                Evidence(**one | {"interval": _pair(one["interval"])}) for one in fields["evidence"]
            )
            fields["rivals"] = tuple(Rival(**one) for one in fields["rivals"])
            fields["interval"] = _pair(fields["interval"])
            for name in ("sink_dimensions", "edges", "histogram", "sinks_per_image", "grid"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"Not a sink profile of version {VERSION}: {error!r}.") from error

    def save(self, path: Path | str) -> None:
        """Write it as JSON, atomically."""
        write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: Path | str) -> "SinkProfile":
        """Read what `save` wrote.

        Raises:
            BrokenFileError: missing, damaged, or not a sink profile of this version.
        """
        value = load_json(path)
        try:
            return cls.from_dict(value)
        except (AttributeError, TypeError, ValueError) as error:
            raise BrokenFileError(path, f"not a sink profile ({error})") from error


def _pair(value: Any) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))
