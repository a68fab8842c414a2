"""Wiring of the benchmarks."""

from kedro.pipeline import Pipeline, node

from pipelines.benchmarks.labels import label_benchmarks
from pipelines.benchmarks.nodes import answer_benchmarks, tabulate_benchmarks


def create_pipeline() -> Pipeline:
    """Models and published files in, kept answers and the table out."""
    return Pipeline(
        [
            node(
                answer_benchmarks,
                [
                    "finetuned_models",
                    "reweightings",
                    "params:model",
                    "params:lvlm",
                    "params:evaluate",
                    "params:benchmarks",
                    "params:seeds",
                    "params:seed",
                    "params:device",
                    "params:engine",
                    "params:ray",
                ],
                "benchmark_answers",
                name="answer_benchmarks",
            ),
            node(
                label_benchmarks,
                [
                    "finetuned_models",
                    "params:lvlm",
                    "params:evaluate",
                    "params:benchmarks",
                    "params:seeds",
                    "params:device",
                    "params:engine",
                    "params:ray",
                ],
                "benchmark_labels",
                name="label_benchmarks",
            ),
            node(
                tabulate_benchmarks,
                [
                    "benchmark_answers",
                    "benchmark_labels",
                    "params:evaluate",
                    "params:benchmarks",
                    "params:seed",
                ],
                ["benchmark_scores", "benchmark_metrics", "benchmark_table"],
                name="tabulate_benchmarks",
            ),
        ]
    )
