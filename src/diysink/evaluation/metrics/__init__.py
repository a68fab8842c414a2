"""When an answer is right, and what the answers to a benchmark come to.

A metric is a class in a file of its family and a row of `METRICS`.
"""

from diysink.evaluation.metrics.base import Judgement, Metric
from diysink.evaluation.metrics.circular import HrBench, MmBenchCircular
from diysink.evaluation.metrics.gqa import Gqa
from diysink.evaluation.metrics.letter import CvBench, Letter, LetterBySubtask, MmStar
from diysink.evaluation.metrics.mathvista import MathVista
from diysink.evaluation.metrics.mme import Mme
from diysink.evaluation.metrics.mmmu import Mmmu
from diysink.evaluation.metrics.pope import Pope
from diysink.evaluation.metrics.scienceqa import ScienceQa
from diysink.evaluation.metrics.text import Contains, Exact, contains, exact_match, normalize
from diysink.evaluation.metrics.vqa import Vqa

METRICS: dict[str, Metric] = {
    "exact": Exact(),
    "contains": Contains(),
    "vqa": Vqa(),
    "gqa": Gqa(),
    "pope": Pope(),
    "mme": Mme(),
    "scienceqa": ScienceQa(),
    "letter": Letter(),
    "mmbench": Letter(),
    "mmbench-circular": MmBenchCircular(),
    "mmmu": Mmmu(),
    "mathvista": MathVista(),
    "cvbench": CvBench(),
    "mmstar": MmStar(),
    "hrbench": HrBench(),
    "vstar": LetterBySubtask(),
}
"""By the name that benchmarks use."""

__all__ = [
    "METRICS",
    "Contains",
    "Exact",
    "Judgement",
    "Metric",
    "contains",
    "exact_match",
    "normalize",
]
