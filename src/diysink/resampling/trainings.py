"""How far a mean over a few trainings may be from the mean over all trainings and images.

A bootstrap over images holds the trainings fixed: it says how sure the difference of *these*
trainings is. Another training may come out elsewhere altogether, and trainings are few (1 to 5),
too few to resample. So the two sources are added: the scatter of the trainings' own differences,
whose mean has variance s^2 / n, and the variance over images, read from the bootstrap's interval.
The whole is taken as Student's t with n - 1 degrees of freedom, which is conservative: images
scatter the trainings' differences a little, too.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import norm, t


def over_trainings(
    differences: Sequence[float] | Float[ndarray, " trainings"],
    over_images: tuple[float, float],
    level: float,
) -> tuple[float, float]:
    """Interval of the mean difference over other trainings and other images.

    Args:
        differences: each training's own, over the same images.
        over_images: bootstrap interval over images of their mean, at the same level.
        level: of the interval.

    Returns:
        Lower and upper end; NaN with one training, which says nothing of others.
    """
    values = np.asarray(differences, dtype=float)
    if len(values) < 2:
        return float("nan"), float("nan")
    tail = 1 - (1 - level) / 2
    image_error = (over_images[1] - over_images[0]) / (2 * norm.ppf(tail))
    error = np.sqrt(values.var(ddof=1) / len(values) + image_error**2)
    reach = float(t.ppf(tail, len(values) - 1) * error)
    mean = float(values.mean())
    return mean - reach, mean + reach
