"""How sure a number is that was measured on images: intervals and an exact paired test.

Everything here treats the *image* as what was sampled. Questions about one image, tokens of one
image and answers of several training seeds to one image are not independent of each other; images
are.
"""

from diysink.resampling.bootstrap import (
    Bootstrap,
    draw_images,
    interval,
    never_certain,
    ratio_interval,
    resampled_ratios,
)
from diysink.resampling.exact import holm, sign_flip_test
from diysink.resampling.trainings import over_trainings

__all__ = [
    "Bootstrap",
    "draw_images",
    "holm",
    "interval",
    "never_certain",
    "over_trainings",
    "ratio_interval",
    "resampled_ratios",
    "sign_flip_test",
]
