"""Which visual tokens of an LVLM are sinks: tau from the norms of its own vision encoder."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from diysink.evaluation.benchmarks import Items
from diysink.evaluation.lvlm import LVLM
from diysink.interventions import encoder_identity
from diysink.records import ImageFile
from diysink.sinks import (
    CalibrationSettings,
    SinkProfile,
    Statistics,
    calibrate,
    measure_norms,
    total,
)


class NoThresholdError(ValueError):
    """The norms of a model's visual tokens show no gap, and no tau was given."""


def measure_sinks(
    lvlm: LVLM,
    records: Items,
    *,
    tau: float | None,
    images: int,
    calibration: CalibrationSettings,
    bootstrap: Mapping[str, int],
    batch: int,
) -> tuple[Statistics, SinkProfile]:
    """Statistics of the norms of some images, and the profile that they give.

    Args:
        lvlm: the model.
        records: whose images are measured, spread over the whole length.
        tau: given by the user; None: from the gap in the norms.
        images: at most so many.
        calibration: how tau is calibrated and what is credible.
        bootstrap: ``replicates`` and ``seed``.
        batch: images per batch.

    Raises:
        NoThresholdError: no gap, and no tau was given.
        ValueError: a tau for a model that has its own, or of such a model that has none.
    """
    if lvlm.knows_its_sinks:
        if tau is not None:
            raise ValueError(
                f"lvlm.tau is {tau}, and a DIYSink model goes by its own tau: set it null."
            )
        tau = lvlm.model.config.tau
        calibration = replace(calibration, relative=lvlm.model.config.tau_relative)
        if tau is None:
            raise ValueError("This DIYSink model has no tau (config.tau), so no token is a sink.")
    if tau is not None:
        calibration = replace(calibration, method="fixed", fixed=float(tau))
    layout = calibration.layout(**bootstrap)
    files = _images(records, images)
    batches = [files[start : start + batch] for start in range(0, len(files), batch)]
    statistics = total(
        (
            measure_norms(layout, lvlm.norms(some), [image.sha256 for image in some])
            for some in batches
        ),
        layout,
    )
    profile = calibrate(statistics, encoder_identity(lvlm.model), calibration)
    if profile.tau is None:
        raise NoThresholdError(
            f"{spread(profile)} No gap has a few of them above it (at most "
            f"{calibration.credible.share:.0%}) and the rest below, so no token can be called a "
            f"sink. {' '.join(profile.reasons)} If you know a threshold all the same, give it: "
            "--params lvlm.tau=100 (the paper's, for LLaVA-1.5-7B). Other images, or more of them "
            "(lvlm.images), may show more."
        )
    return statistics, profile


def spread(profile: SinkProfile) -> str:
    """How large the norms are: the median, what nineteen in twenty stay below, the largest."""
    running = np.cumsum(profile.histogram)
    middle, high, top = (
        profile.edges[int(np.searchsorted(running, share * running[-1])) + edge]
        for share, edge in ((0.5, 0), (0.95, 1), (1.0, 1))
    )
    unit = " times the median of their image" if profile.relative else ""
    return (
        f"The {running[-1]:,} visual tokens of {profile.images} images have norms{unit} of about "
        f"{middle:.3g} (median); 95 % are below {high:.3g}, all below {top:.3g}."
    )


def facts(profile: SinkProfile) -> dict[str, Any]:
    """A profile for the results file."""
    return {
        "encoder": profile.encoder.to_dict(),
        "tau": profile.tau,
        "relative": profile.relative,
        "method": profile.method,
        "interval": profile.interval,
        "verdict": profile.verdict,
        "reasons": list(profile.reasons),
        "not_looked_at": list(profile.not_looked_at),
        "images": profile.images,
        "sinks_per_image": profile.mean_sinks,
        "share_without": profile.share_without,
    }


def _images(records: Items, most: int) -> list[ImageFile]:
    """Different images of some records, from their whole length, at most so many."""
    number = min(most, len(records))
    chosen = (records[index * len(records) // number] for index in range(number))
    images = {image.sha256: image for record in chosen for image in record.images}
    if not images:
        raise ValueError("The records have no image (or lvlm.images is 0): there are no norms.")
    return list(images.values())
