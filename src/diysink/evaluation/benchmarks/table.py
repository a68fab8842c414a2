"""Every benchmark by name.

To add one, add a row, with a loader of its items in a file of its own where they are not a split of
the run's own records.
"""

from diysink.evaluation.benchmarks.benchmark import Benchmark

BENCHMARKS = {
    row.name: row
    for row in (
        Benchmark("test"),  # short answers, as the miniature's
        Benchmark("sentences", metric="contains"),  # for models that answer in sentences
        Benchmark("short", suffix="\nAnswer the question using a single word or phrase."),  # LLaVA
    )
}
