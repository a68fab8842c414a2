"""The learning rate's course, the same for every part of the miniature."""

import math
from collections.abc import Callable


def warm_cosine(steps: int, warm: float = 0.1) -> Callable[[int], float]:
    """A factor that rises over the first share `warm` of the steps, then falls by half a cosine."""
    rising = max(1, round(steps * warm))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        passed = (step - rising) / max(1, steps - rising)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, passed)))

    return factor
