"""How sure a number is that was measured on images: intervals and paired tests.

What was sampled is the *image*: questions about one image and tokens of one image are not
independent of each other; images are. Where models were trained several times, the *training* was
sampled as well (`diysink.resampling.trainings`).
"""

from diysink.resampling.bootstrap import (
    Bootstrap,
    draw_images,
    interval,
    limit_of_none,
    never_certain,
    ratio_interval,
    resampled_ratios,
)
from diysink.resampling.exact import holm, sign_flip_test
from diysink.resampling.trainings import CrossedMean, crossed_mean

__all__ = [
    "Bootstrap",
    "CrossedMean",
    "crossed_mean",
    "draw_images",
    "holm",
    "interval",
    "limit_of_none",
    "never_certain",
    "ratio_interval",
    "resampled_ratios",
    "sign_flip_test",
]
