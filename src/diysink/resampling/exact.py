"""An exact paired test that images, not answers, stand behind; and Holm's correction.

McNemar's exact test asks whether the pairs in which only one side is right fall evenly on both
sides. It takes pairs as independent, which the questions of one image and the answers of several
training seeds are not. The same question is asked here per image: under "no difference" the two
sides of an image could as well be swapped, so the image's difference has either sign with
probability 1/2. The distribution of the total is computed, not sampled. With one question per
image and one seed this *is* McNemar's exact test.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.signal import convolve
from scipy.stats import binom


def sign_flip_test(differences: Int[ndarray, " images"]) -> float:
    """Two-sided p of "each image's difference is as likely to be its negative".

    Args:
        differences: per image, right answers of one side minus those of the other, over all its
            questions and seeds.
    """
    sizes, images = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    # Distribution of the sum of +-size, as probabilities at -reach, -reach + 1, ..., reach.
    distribution = np.ones(1)
    for size, count in zip(sizes.tolist(), images.tolist(), strict=True):
        steps = np.zeros(2 * size * count + 1)
        steps[:: 2 * size] = binom.pmf(np.arange(count + 1), count, 0.5)
        distribution = convolve(distribution, steps)
    reach = len(distribution) // 2
    total = abs(int(differences.sum()))
    tail = float(np.clip(distribution[reach + total :], 0, None).sum())
    return min(1.0, 2 * tail) if total else 1.0


def holm(p: Sequence[float]) -> Float[ndarray, " tests"]:
    """Holm's step-down correction: the family-wise error stays below the level, dependent or not.

    >>> [round(float(p), 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return corrected
