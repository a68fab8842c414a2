"""The pretrained parts that the parameters name: what they are, and a model made of them."""

from pathlib import Path
from typing import TYPE_CHECKING

from diysink.artifact import digest_json, digest_source

if TYPE_CHECKING:
    from diysink.model import Assembled, Parts
    from diysink.sinks import SinkProfile
    from pipelines.align.settings import Align
    from pipelines.shared import Model


def model_parts(model: "Model") -> "Parts":
    """The pretrained parts named in the parameters."""
    from diysink.model import Parts

    return Parts(**model.model_dump(exclude={"profile", "sentence"}))


def check_checkpoints(*checkpoints: str) -> None:
    """Refuse a folder that is no checkpoint before gigabytes of it are digested.

    Raises:
        CheckpointError, BrokenFileError: see `diysink.encoders.checkpoint_source`.
    """
    from diysink.encoders import checkpoint_source

    for checkpoint in checkpoints:
        if Path(checkpoint).exists():  # a hub id is looked at when it is loaded
            checkpoint_source(checkpoint)


def parts_digest(model: "Model") -> str:
    """Digest of what the pretrained parts are, wherever they lie."""
    check_checkpoints(model.encoder, model.language)
    rest = model.model_dump(exclude={"encoder", "language", "sentence"})
    return digest_json(
        {
            **rest,
            "encoder": digest_source(model.encoder, model.encoder_revision),
            "language": digest_source(model.language, model.language_revision),
        }
    )


def untrained(
    unit: str, model: "Model", profile: "SinkProfile", align: "Align"
) -> tuple["Assembled", int]:
    """The model of a unit, ``<connector>/seed<n>``, before any training; and its seed."""
    from diysink.model import assemble

    name, seed = unit.split("/seed")
    trained = align.connectors[name]
    assembled = assemble(
        model_parts(model),
        profile,
        connector=align.kind(name),
        arrangement=trained.arrangement,
        seed=int(seed),
        connector_options=trained.options,
    )
    return assembled, int(seed)
