"""Benchmarks: which questions, what is added to each, and when an answer is right."""

from diysink.evaluation.benchmarks.benchmark import Benchmark, Items, Loader, Questions, prepared
from diysink.evaluation.benchmarks.llava_json import llava_json
from diysink.evaluation.benchmarks.table import BENCHMARKS

__all__ = ["BENCHMARKS", "Benchmark", "Items", "Loader", "Questions", "llava_json", "prepared"]
