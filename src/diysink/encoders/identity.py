"""Which encoder a measurement belongs to: a name to read, and a digest that decides."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EncoderIdentity:
    """What makes two encoders the same for a sink profile.

    Attributes:
        name: hub id or folder name; for people, not compared.
        digest: SHA-256 over the weights that run up to ``layer`` and over what shapes their
            computation. Weights are rounded to bfloat16 first, so that a float32 checkpoint and
            its bfloat16 copy are one encoder.
        layer: index into the hidden states, counted from the embeddings (0); never negative.
        family: the architecture, a key of `diysink.architectures.ENCODERS`.
    """

    name: str
    digest: str
    layer: int
    family: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "EncoderIdentity":
        """From what `to_dict` gave."""
        return cls(
            name=str(value["name"]),
            digest=str(value["digest"]),
            layer=int(value["layer"]),
            family=str(value["family"]),
        )
