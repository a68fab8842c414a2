"""What the training stages share: the model's parts, the data, and Lightning's settings."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diysink.artifact import digest_file, digest_json, digest_source

if TYPE_CHECKING:
    from diysink.model import Assembled, Parts
    from diysink.sinks import SinkProfile
    from diysink.training import EncodedRecords, StageTraining


def model_parts(model: dict[str, Any]) -> "Parts":
    """The pretrained parts named in the parameters."""
    from diysink.model import Parts

    return Parts(**{k: v for k, v in model.items() if k not in ("profile", "sentence")})


def parts_digest(model: dict[str, Any]) -> str:
    """Digest of what the pretrained parts are, wherever they lie."""
    rest = {k: v for k, v in model.items() if k not in ("encoder", "language", "sentence")}
    return digest_json(
        {
            **rest,
            "encoder": digest_source(model["encoder"], model.get("encoder_revision")),
            "language": digest_source(model["language"], model.get("language_revision")),
        }
    )


def folder_digest(folder: Path) -> str:
    """Digest of a published folder: of its manifest, which lists all its files' digests."""
    return digest_file(folder / "manifest.json")


def load_profile(sink_profiles: Path, model: dict[str, Any], *, require: bool) -> "SinkProfile":
    """The profile that the parameters name.

    Raises:
        ValueError: no such profile, or (``require``) it found no credible sinks.
    """
    from diysink.sinks import SinkProfile

    path = sink_profiles / model["profile"] / "profile.json"
    if not path.is_file():
        known = sorted(p.parent.name for p in sink_profiles.glob("*/profile.json"))
        raise ValueError(f"no sink profile {model['profile']!r}; measured: {', '.join(known)}")
    profile = SinkProfile.load(path)
    if require and not profile.found:
        raise ValueError(
            f"the profile {model['profile']!r} found no credible sinks: "
            f"{'; '.join(profile.reasons)}. There is nothing to treat apart. Measure another "
            "encoder or layer, or set require_sinks: false to train with the profile's tau anyway."
        )
    return profile


def untrained(
    name: str, model: dict[str, Any], profile: "SinkProfile", align: dict[str, Any]
) -> tuple["Assembled", int]:
    """The model of a unit, ``<connector>/seed<n>``, before any training; and its seed."""
    from diysink.model import assemble

    kind, seed = name.split("/seed")
    assembled = assemble(
        model_parts(model),
        profile,
        connector=kind,
        arrangement=align["arrangement"][kind],
        seed=int(seed),
        **align["resampler"],
    )
    return assembled, int(seed)


class Encodings:
    """A stage's records as token ids and pixels: encoded once, for the first unit that runs.

    Args:
        records: folder of all splits.
        settings: ``split`` and ``keep`` of the stage's parameters.
    """

    def __init__(self, records: Path, settings: dict[str, Any]) -> None:
        self.records, self.settings = records, settings
        self._encoded: EncodedRecords | None = None

    def of(self, assembled: "Assembled") -> "EncodedRecords":
        """The records, in the tokens and pixels of a model; all units have the same."""
        if self._encoded is None:
            from diysink.records import Records
            from diysink.training import EncodedRecords

            self._encoded = EncodedRecords(
                Records(self.records / self.settings["split"]),
                assembled.prompter,
                assembled.image_processor,
                self.settings["keep"],
            )
        return self._encoded


def train(
    name: str,
    make: Callable[[], "StageTraining"],
    data: "EncodedRecords",
    settings: dict[str, Any],
    seed: int,
    scratch: Path,
) -> tuple["StageTraining", list[dict[str, Any]]]:
    """Train one unit with Lightning, from its last checkpoint if it was killed before.

    Args:
        name: unit, for the names of its metrics in MLflow.
        make: builds the untrained Lightning module.
        data: the records.
        settings: ``steps``, ``batch``, ``workers`` and ``trainer`` of the stage's parameters.
        seed: seed of the order of the records.
        scratch: folder for checkpoints.

    Returns:
        The trained module, and one row per step.
    """
    import mlflow

    from diysink.training import FitSettings, RecordsDataModule, fit, mlflow_logger

    run = mlflow.active_run()
    logger = run and mlflow_logger(
        run.info.run_id, mlflow.get_tracking_uri(), name.replace("/", "-")
    )
    trainer = FitSettings(**settings["trainer"])
    batches = RecordsDataModule(
        data,
        batch=settings["batch"],
        steps=settings["steps"] * trainer.accumulate,
        seed=seed,
        workers=settings["workers"],
    )
    training = make()
    return training, fit(training, batches, trainer, scratch, logger)


def optimization(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """The options of :class:`diysink.training.StageTraining` in a stage's parameters."""
    names = ("learning_rate", "steps", "warmup", "weight_decay", "betas")
    return {name: settings[name] for name in names} | {"seed": seed}
