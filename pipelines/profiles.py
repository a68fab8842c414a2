"""The sink profile that the parameters name, and whether a connector can be trained with it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diysink.sinks import SinkProfile
    from pipelines.shared import Model

logger = logging.getLogger(__name__)


def load_profile(
    sink_profiles: Path, model: "Model", *, require: bool, train: Mapping[str, str] | None = None
) -> "SinkProfile":
    """The profile that the parameters name.

    Args:
        sink_profiles: folder of all profiles.
        model: parameters of that name.
        require: whether it must have found credible sinks.
        train: connectors that are about to be trained with it, and the kind of each.

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
    _check_parts(model.profile, profile, train or {})
    return profile


def _check_parts(name: str, profile: "SinkProfile", connectors: Mapping[str, str]) -> None:
    """Refuse to train a part that would never see a token; warn if it would see few.

    Raises:
        ValueError: there are connectors with two parts, and no sinks, or nothing but sinks.
    """
    from diysink.connector import connector_class

    two = [own for own, kind in connectors.items() if connector_class(kind).two_parts]
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
