"""Numbers in the pages are those of the recorded files."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import census_table

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks/results"
ROLLOUT = "rollout inside the box over its area"


def interval(row, low, high):
    return f"{100 * row.difference:+.1f} [{100 * row[low]:+.1f}, {100 * row[high]:+.1f}]"


DOSES = pd.DataFrame(json.loads((RESULTS / "dose.json").read_text())["rows"])
CELLS = [
    pytest.param(row, id=f"{row.dose}-{row.level_name}")
    for _, row in DOSES.iterrows()
    if row.group == row["first"]
]


@pytest.mark.parametrize("row", CELLS)
def test_results_tell_the_recorded_doses(row):
    page = (ROOT / "docs/results.md").read_text()
    accuracies = f"| {100 * row.baseline_accuracy:.1f} | {100 * row.accuracy:.1f} |"
    assert f"{accuracies} {interval(row, 'training_low', 'training_high')} |" in page


def test_the_readme_tells_the_ends_of_the_dose():
    one = DOSES[(DOSES["dose"] == "interference") & (DOSES["group"] == "global")]
    gains = 100 * one["difference"]
    text = f"gains {gains.iloc[0]:.1f} to {gains.iloc[-1]:.1f} points"
    assert text in (ROOT / "README.md").read_text()


def test_the_table_of_encoders_is_that_of_the_cards(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = census_table.PAGE.read_text()
    local = [path.stem for path in census_table.CARDS.glob("*.json") if "--" not in path.stem]
    assert len(local) >= 4
    for name in (*local, *census_table.ENCODERS):
        assert census_table.row_of(name) in page


def test_probes_are_those_of_their_file():
    recorded = json.loads((ROOT / "docs/census/dinov2-small-probes.json").read_text())
    page = (ROOT / "docs/census/README.md").read_text()
    rows = pd.DataFrame(recorded["rows"])
    for layer, of_layer in rows[rows["from"] != ROLLOUT].groupby("layer", sort=False):
        cells = [
            f"{100 * one.value:.0f} [{100 * one.low:.0f}, {100 * one.high:.0f}]"
            for one in of_layer.itertuples()
        ]
        assert f"| {layer} | {' | '.join(cells)} |" in page


def test_the_sweep_is_that_of_its_file_and_its_cards():
    card = json.loads((ROOT / "docs/census/dinov2-small-sizes.json").read_text())
    page = (ROOT / "docs/census/README.md").read_text()
    for one in card["sizes"]:
        alone = json.loads((census_table.CARDS / f"dinov2-small-{one['size']}.json").read_text())
        found = alone["layers"][card["layers"]["attention"]]["metrics"]
        assert one["metrics"]["concentration"] == found["concentration"]
        ratio, times, share = (
            one["metrics"][name] for name in ("norm_ratio", "concentration", "sink_share")
        )
        cells = [
            str(one["size"]), ", ".join(one["types"]),
            "{value:.2f} [{low:.2f}, {high:.2f}]".format(**ratio),
            "{value:.0f} [{low:.0f}, {high:.0f}]".format(**times),
            "{value:.1f} % [{low:.1f}, {high:.1f}]".format(
                **{key: 100 * number for key, number in share.items()}
            ),
        ]  # fmt: skip
        assert f"| {' | '.join(cells)} |" in page
    (change,) = card["differences"]
    assert f"{change['differ']} of {change['of']} numbers" in page
    told = {"norm_ratio": (1, 3), "concentration": (1, 0), "sink_share": (100, 1)}
    for name, (scale, digits) in told.items():
        found = change["metrics"][name]
        low, value, high = (
            f"{scale * found[key]:+.{digits}f}" for key in ("low", "difference", "high")
        )
        assert f"{value} [{low}, {high}]" in page
    layers = card["layers"]
    for said in (f"median, layer {layers['norms']}", f"share, layer {layers['attention']}"):
        assert said in page


@pytest.mark.parametrize(
    ("shape", "said"), [("base, cpu", "(ViT-B/16 at 224)"), ("large, cpu", "(ViT-L/14 at 336)")]
)
def test_the_guide_tells_the_recorded_cost(shape, said):
    found = json.loads((RESULTS / "census.json").read_text())[shape]
    page = (ROOT / "docs/guides/inspect.md").read_text()
    assert f"{found['ratio_census_to_bare']:.2f} times {said}" in page


def test_five_seeds_on_other_kernels_are_those_of_their_file():
    found = json.loads((RESULTS / "five-seeds-kernels.json").read_text())
    page = (ROOT / "docs/results.md").read_text()
    both = [found["vector instructions"], found["default"]]
    assert both[0]["verdicts"] == both[1]["verdicts"]
    assert len(both[0]["verdicts"]) == 12
    for name in ("single", "parameter-matched", "dual"):
        seeds = [100 * pd.Series(one["accuracy"][name]) for one in both]
        cells = [f"{s.min():.1f} to {s.max():.1f}, {s.std():.2f}" for s in seeds]
        assert f" | {' | '.join(cells)} |" in page
    for name in ("dual - parameter-matched", "dual-oracle - dual"):
        rows = [pd.Series(one["differences"][name]) for one in both]
        cells = [interval(row, "training_low", "training_high") for row in rows]
        assert f"| {name.replace(' - ', ' less ')} | {' | '.join(cells)} |" in page


def test_the_guide_tells_what_the_served_package_answered():
    recorded = json.loads((RESULTS / "serve.json").read_text())
    page = " ".join((ROOT / "docs/guides/mlflow.md").read_text().split())
    assert recorded["faults"] == []
    assert recorded["replies"] == recorded["requests"] == 1000
    of = recorded["statuses"]
    assert (
        f"{of['200']} requests got {recorded['rows_answered']:,} rows, {of['400']} got 400" in page
    )
    bad = {kind: one for kind, one in recorded["alone"].items() if one["status"] != 200}
    large = [one["cpu_ms"] for kind, one in bad.items() if "30 MB" in kind]
    most = max(one["cpu_ms"] for kind, one in bad.items() if "30 MB" not in kind)
    assert f"at most {most} ms of the server's processor time" in page
    assert f"an image of 30 MB {min(large)} to {max(large)} ms" in page


def test_the_guide_tells_the_recorded_parity_with_lmms_eval():
    recorded = json.loads((RESULTS / "lmms-eval-parity.json").read_text())
    page = (ROOT / "docs/guides/benchmarks.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|") and "%" in line]
    assert len(rows) == len(recorded["benchmarks"])
    assert recorded["unexplained"] == 0
    for row, judged in zip(rows, recorded["benchmarks"].values(), strict=True):
        assert f"| {100 * judged['equal']:.1f} % |" in row
        for each in judged["differences"]:
            assert f"{each['rule'][1:]}: {each['cases']}." in row


def test_the_guide_tells_how_long_metrics_take():
    recorded = json.loads((RESULTS / "metrics.json").read_text())
    seconds = [each["all"] for each in recorded["cpu_seconds"].values()]
    page = (ROOT / "docs/guides/benchmarks.md").read_text()
    assert f"take {min(seconds):.1f} to {max(seconds):.1f} s" in page
    assert max(seconds) <= recorded["target"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("as it is", "| 4096 tokens, as it is |"),
        ("cut at 2048", "| cut at 2048, as LLaVA does |"),
        ("ended at a turn, 2048", "| ended at a turn within 2048 |"),
        ("ended at a turn, 1024", "| ended at a turn within 1024 |"),
    ],
)
def test_the_cost_of_a_long_dialogue_is_the_recorded_one(name, shown):
    found = json.loads((RESULTS / "long-dialogue.json").read_text())["ratios_to_all_short"][name]
    line = f"{shown} {found['seconds']:.1f} x | {found['mebibytes']:.1f} x |"
    assert line in (ROOT / "docs/guides/your-model.md").read_text()


def test_the_guide_tells_how_many_answers_lmms_eval_shares_with_us():
    found = json.loads((RESULTS / "lmms-eval-run.json").read_text())
    page = (ROOT / "docs/guides/benchmarks.md").read_text()
    runs, chosen = found["runs"], found["choices by likelihood"]
    assert len(runs) == 7
    for one in runs.values():
        assert f"{one['equal answers']} of {one['items']} answers" in page
        assert one["equal answers"] == one["items"]
        assert one["accuracy"] == pytest.approx(one["exact_match of lmms-eval"])
    assert f"{chosen['equal choices']} of {chosen['items']} choices" in page
    assert chosen["accuracy"] == pytest.approx(chosen["acc of lmms-eval"])
    moved = [
        runs[name]["answers other than stock"] for name in ("LLaVA, front (tau)", "DIYSink, sink")
    ]
    assert f"changes {moved[0]} answers of LLaVA, seeing sinks alone {moved[1]} of DIYSink" in page


def test_the_guide_tells_what_evaluating_costs():
    recorded = json.loads((RESULTS / "evaluation.json").read_text())["medium, cpu"]
    page = (ROOT / "docs/guides/benchmarks.md").read_text()
    assert f"takes {100 * recorded['overhead']:.1f} % of the answers' time" in page
    assert f"likelihood of the reference {100 * recorded['likelihood']:.1f} % more" in page
    assert max(recorded["overhead"], recorded["overhead_7b_by_flops"]) <= 0.05


@pytest.mark.parametrize(("name", "family"), [("LLaVA", "llava"), ("Qwen3-VL", "qwen3_vl")])
def test_the_guide_tells_what_dropping_saves(name, family):
    recorded = json.loads((RESULTS / "pruning.json").read_text())["families"][family]
    page = (ROOT / "docs/guides/interventions.md").read_text()
    for count in ("1", "16"):
        ways = recorded[f"{count} new tokens"]
        ratios = [ways[way]["ratio"] for way in ("sinks only", "sinks only, masked")]
        row = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        assert re.search(rf"\| {name} \| {count} tokens? \| {re.escape(row)} \|", page)
        assert ways["sinks only"]["tokens_read"] == 50
        assert ways["base"]["tokens_read"] == ways["sinks only, masked"]["tokens_read"] == 621
