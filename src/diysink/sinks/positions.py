"""At how many positions sinks sit, whatever their number: do they go by content or by place?

The effective number of positions is the Hill number of order one, exp of the Shannon entropy of
the positions' shares (Hill 1973, "Diversity and evenness: a unifying notation and its
consequences", Ecology 54): n positions used alike count as n, a favourite one for less. The entropy
of few draws is too low, so it is held against that of as many draws at positions at random, which
is known exactly: then 1 stands for no preference at any number of sinks.
"""

import numpy as np
from jaxtyping import Float
from scipy.stats import binom

BEYOND = 1e-14  # what is left of the binomial distribution on either side, in `random_entropy`


def evenness(counts: Float[np.ndarray, " positions"]) -> float:
    """Effective number of positions, over that of as many draws at positions at random.

    Args:
        counts: sinks at each position, at least one in all.

    Returns:
        1 where no position is preferred (a little more by chance), and where there is one sink; k
        over the number of positions for many sinks that use k of them alike, and more for few.

    Examples:
        >>> corners = np.zeros(576)
        >>> corners[[0, 23, 552, 575]] = 100_000
        >>> round(evenness(corners) * 576, 2)
        4.0
        >>> evenness(np.eye(576)[0])
        1.0
    """
    shares = counts[counts > 0] / counts.sum()
    entropy = -float((shares * np.log(shares)).sum())
    return float(np.exp(entropy - random_entropy(round(counts.sum()), counts.size)))


def random_entropy(draws: int, positions: int) -> float:
    """Expected Shannon entropy (nats) of the shares of draws at positions at random.

    The count at each position is binomial, so that the expectation is a sum over its values.

    Examples:
        >>> random_entropy(1, 9)
        0.0
        >>> bool(np.isclose(random_entropy(2, 4), 3 / 4 * np.log(2)))  # two places 3 times of 4
        True
    """
    count = binom(draws, 1 / positions)
    values = np.arange(max(1, int(count.ppf(BEYOND))), int(count.isf(BEYOND)) + 1)
    shares = values / draws
    return float(-positions * (count.pmf(values) * shares * np.log(shares)).sum()) + 0.0
