"""What the training stages share: the model's parts, the data, and Lightning's settings."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diysink.artifact import digest_file, digest_json, digest_source

if TYPE_CHECKING:
    from diysink.model import Assembled, Parts
    from diysink.sinks import SinkProfile
    from diysink.training import EncodedRecords, StageTraining
    from pipelines import shared
    from pipelines.align.settings import Align
    from pipelines.shared import Model, Training

logger = logging.getLogger(__name__)


def model_parts(model: "Model") -> "Parts":
    """The pretrained parts named in the parameters."""
    from diysink.model import Parts

    return Parts(**model.model_dump(exclude={"profile", "sentence"}))


def look_at(*checkpoints: str) -> None:
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
    look_at(model.encoder, model.language)
    rest = model.model_dump(exclude={"encoder", "language", "sentence"})
    return digest_json(
        {
            **rest,
            "encoder": digest_source(model.encoder, model.encoder_revision),
            "language": digest_source(model.language, model.language_revision),
        }
    )


def folder_digest(folder: Path) -> str:
    """Digest of a published folder: of its manifest, which lists all its files' digests."""
    return digest_file(folder / "manifest.json")


def load_profile(
    sink_profiles: Path, model: "Model", *, require: bool, train: Sequence[str] = ()
) -> "SinkProfile":
    """The profile that the parameters name.

    Args:
        sink_profiles: folder of all profiles.
        model: parameters of that name.
        require: whether it must have found credible sinks.
        train: connectors that are about to be trained with it.

    Raises:
        ValueError: no such profile; (``require``) it found no credible sinks; or it gives one of
            the two parts of a connector no token to learn from.
    """
    from diysink.sinks import SinkProfile

    path = sink_profiles / model.profile / "profile.json"
    if not path.is_file():
        known = sorted(p.parent.name for p in sink_profiles.glob("*/profile.json"))
        raise ValueError(f"no sink profile {model.profile!r}; measured: {', '.join(known)}")
    profile = SinkProfile.load(path)
    if require and not profile.found:
        raise ValueError(
            f"the profile {model.profile!r} found no credible sinks: "
            f"{'; '.join(profile.reasons)}. There is nothing to treat apart. Measure another "
            "encoder or layer, or set require_sinks: false to train with the profile's tau anyway."
        )
    _check_parts(model.profile, profile, train)
    return profile


def _check_parts(name: str, profile: "SinkProfile", connectors: Sequence[str]) -> None:
    """Refuse to train a part that would never see a token; warn if it would see few.

    Raises:
        ValueError: there are connectors with two parts, and no sinks, or nothing but sinks.
    """
    from diysink.connector import connector_class

    two = [kind for kind in connectors if connector_class(kind).two_parts]
    if not two:
        return
    seen = sum(profile.histogram)
    below = sum(
        count
        for count, edge in zip(profile.histogram, profile.edges, strict=False)
        if profile.tau is None or edge < profile.tau
    )
    if profile.tau is None:
        why, part = "has no tau, so no token is a sink", "sinks"
    elif profile.images and not profile.mean_sinks:
        why, part = f"has tau {profile.tau:.4g}, which no token of its images reaches", "sinks"
    elif seen and not below:
        why, part = f"has tau {profile.tau:.4g}, which every token reaches", "nonsinks"
    else:
        if profile.share_without > 0.5:
            logger.warning(
                "%.0f %% of the images of the profile %r have no sinks: %s's part for sinks learns "
                "from the remaining images alone",
                100 * profile.share_without,
                name,
                " and ".join(two),
            )
        return
    raise ValueError(
        f"the profile {name!r} {why}: the part for {part} of the connector {' and '.join(two)} "
        f"would be trained without ever seeing a token. Leave {' and '.join(two)} out of "
        "align.connectors, set tau by hand (sinks.calibration.method: fixed, and its value in "
        "sinks.calibration.fixed), or measure another encoder or layer"
    )


def untrained(
    name: str, model: "Model", profile: "SinkProfile", align: "Align"
) -> tuple["Assembled", int]:
    """The model of a unit, ``<connector>/seed<n>``, before any training; and its seed."""
    from diysink.model import assemble

    kind, seed = name.split("/seed")
    assembled = assemble(
        model_parts(model),
        profile,
        connector=kind,
        arrangement=align.arrangement.get(kind),
        seed=int(seed),
        connector_options=align.connector_options.get(kind),
    )
    return assembled, int(seed)


class Encodings:
    """A stage's records as token ids and pixels: encoded once, for the first unit that runs.

    Args:
        records: folder of all splits.
        settings: of the stage.
    """

    def __init__(self, records: Path, settings: "shared.StageTraining") -> None:
        self.records, self.settings = records, settings
        self._encoded: EncodedRecords | None = None

    def of(self, assembled: "Assembled") -> "EncodedRecords":
        """The records, in the tokens and pixels of a model; all units have the same."""
        if self._encoded is None:
            from diysink.model import training_length
            from diysink.records import Records
            from diysink.training import EncodedRecords

            self._encoded = EncodedRecords(
                Records(self.records / self.settings.split),
                assembled.chat_encoder,
                assembled.image_processor,
                self.settings.cache_size,
                training_length(assembled.model.config, self.settings.max_length),
            )
        return self._encoded


def train(
    name: str,
    make: Callable[[], "StageTraining"],
    data: "EncodedRecords",
    settings: "Training",
    seed: int,
    scratch: Path,
    max_steps: int,
) -> tuple["StageTraining", list[dict[str, Any]]]:
    """Train one unit with Lightning, from its last checkpoint if it was killed before.

    Args:
        name: unit, for the names of its metrics in MLflow.
        make: builds the untrained Lightning module.
        data: the records.
        settings: of the stage.
        seed: seed of the order of the records.
        scratch: folder for checkpoints.
        max_steps: optimizer steps.

    Returns:
        The trained module, and one row per step.
    """
    import mlflow

    from diysink.training import FitSettings, RecordsDataModule, fit, mlflow_logger

    run = mlflow.active_run()
    logger = run and mlflow_logger(
        run.info.run_id, mlflow.get_tracking_uri(), name.replace("/", "-")
    )
    trainer = FitSettings(**settings.trainer.model_dump())
    batches = RecordsDataModule(
        data,
        batch_size=settings.batch_size,
        num_batches=max_steps * trainer.accumulate_grad_batches,
        seed=seed,
        num_workers=settings.num_workers,
    )
    training = make()
    return training, fit(training, batches, trainer, scratch, logger)


def optimization(settings: "Training", seed: int, max_steps: int) -> dict[str, Any]:
    """The options of :class:`diysink.training.StageTraining` in the settings of a stage."""
    names = {"learning_rate", "warmup_ratio", "weight_decay", "betas"}
    return settings.model_dump(include=names) | {"seed": seed, "max_steps": max_steps}
