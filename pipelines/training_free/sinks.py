"""Which visual tokens of a model are sinks: tau from the norms of its own vision encoder."""

from typing import TYPE_CHECKING, Any

from pipelines.training_free.words import spread

if TYPE_CHECKING:
    from diysink.evaluation.lvlm import LVLM
    from diysink.records import ImageFile, Records
    from diysink.sinks import SinkProfile, Statistics


class NoThresholdError(ValueError):
    """The norms of a model's visual tokens show no gap, and no tau was given."""


def measure(
    model: "LVLM", split: "Records", tau: float | None, settings: dict[str, Any]
) -> "tuple[Statistics, SinkProfile]":
    """Statistics of the norms of some pictures, and the profile that they give.

    Raises:
        NoThresholdError: no gap, and no tau was given.
        ValueError: a tau for a model that has its own, or of such a model that has none.
    """
    from diysink.interventions import encoder_identity
    from diysink.sinks import (
        CalibrationSettings,
        Credibility,
        Layout,
        calibrate,
        measure_norms,
        total,
    )

    if model.knows_its_sinks:
        if tau is not None:
            raise ValueError(
                f"lvlm.tau is {tau}, and a DIYSink model goes by its own tau: set it null."
            )
        tau = model.model.config.tau
        if tau is None:
            raise ValueError("This DIYSink model has no tau (config.tau), so no token is a sink.")
    chosen = dict(settings["calibration"])
    chosen["credible"] = Credibility(**chosen["credible"])
    if tau is not None:
        chosen |= {"method": "fixed", "fixed": float(tau)}
    asked = CalibrationSettings(**chosen)
    layout = Layout(anchor=asked.fixed, **settings["bootstrap"])
    images = _pictures(split, settings["images"])
    size = settings["batch"]
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    statistics = total(
        (
            measure_norms(layout, model.norms(batch), [image.sha256 for image in batch])
            for batch in batches
        ),
        layout,
    )
    profile = calibrate(statistics, encoder_identity(model.model), asked)
    if profile.tau is None:
        raise NoThresholdError(
            f"{spread(profile)} No gap has a few of them above it (at most "
            f"{asked.credible.share:.0%}) and the rest below, so none can be told to be a sink. "
            f"{' '.join(profile.reasons)} If you know a threshold all the same, give it: --params "
            "lvlm.tau=100 (the paper's, for LLaVA-1.5-7B). Other pictures, or more of them "
            "(training_free.images), may show more."
        )
    return statistics, profile


def _pictures(split: "Records", most: int) -> "list[ImageFile]":
    """Different pictures of a split, from its whole length, at most so many."""
    wanted = min(most, len(split))
    records = (split[place * len(split) // wanted] for place in range(wanted))
    images = {image.sha256: image for record in records for image in record.images}
    if not images:
        raise ValueError("The split has no picture (or training_free.images is 0): no norms.")
    return list(images.values())
