"""The page of benchmarks says what the code and the recorded memory say."""

import json

from tests.docs.benchmarks import PAGE, ROOT, written


def test_the_page_is_that_of_the_code() -> None:
    text = PAGE.read_text()
    assert written(text) == text, "run python -m tests.docs.benchmarks"


def test_the_page_tells_the_recorded_memory() -> None:
    recorded = json.loads((ROOT / "benchmarks/results/loaders.json").read_text())["formats"]
    growth = {name: each["growth_mib"] for name, each in recorded.items()}
    text = PAGE.read_text()
    assert f"50,000 items take {growth['tsv']} MiB (TSV)" in text
    assert min(growth.values()) == growth["tsv"]
    largest = growth["json, answers in another file"]
    assert f"to {largest} MiB (VQAv2's two JSON files)" in text
    assert max(growth.values()) == largest
    assert all(each["ratio_of_peaks"] < 1.05 for each in recorded.values())
