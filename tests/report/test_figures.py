import base64
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from diysink.evaluation import dose_response
from diysink.report.figures import (
    draw_accuracy,
    draw_curves,
    draw_differences,
    draw_dose,
    draw_examples,
    draw_norms,
    draw_search,
)
from diysink.resampling import Bootstrap


def test_norms_are_told_with_and_without_tau(inputs):
    verdicts = {row["encoder"]: row for row in inputs.rows("sink_verdicts")}
    bins = [r for r in inputs.rows("sink_histogram") if r["encoder"] == "induced"]
    found = draw_norms(verdicts["induced"], bins)
    assert found.title == "induced: credible sinks, 3 of 36 tokens per image above tau = 30"
    assert "its 95 % bootstrap interval, 27 to 33" in found.caption
    exceed = draw_norms(verdicts["control"], bins).title
    assert exceed.startswith("control: no credible sinks, though")
    nothing = {**verdicts["control"], "tau": np.nan, "low": np.nan, "high": np.nan}
    without = draw_norms(nothing, bins)
    assert without.title == "control: no credible sinks, and no second population of norms"
    assert "tau" not in without.caption
    fixed = {**verdicts["induced"], "low": np.nan, "high": np.nan, "method": "fixed"}
    assert "(fixed, without an interval)" in draw_norms(fixed, bins).caption


def test_the_most_and_the_candidate_are_named(inputs):
    settings = inputs.results["settings"]
    rows = [
        {
            "variant": variant, "group": "all", "accuracy": accuracy, "low": accuracy - 0.1,
            "high": accuracy, "n_items": 9, "n_images": 3, "n_seeds": 1,
        }
        for variant, accuracy in (("parameter-matched", 0.5), ("dual-reweight", 0.7), ("dual", 0.8))
    ]  # fmt: skip
    drawn = draw_accuracy(rows, settings)
    assert drawn.title == "dual answers 80.0 % right (the most); dual-reweight answers 70.0 % right"
    assert "9 questions about 3 images, one training seed" in drawn.caption
    assert (
        draw_accuracy(rows[:2], settings).title == "dual-reweight answers 70.0 % right (the most)"
    )


def test_no_comparison_with_the_baseline_no_figure(inputs):
    settings = {**inputs.results["settings"], "baseline": "another"}
    assert draw_differences(inputs.results["comparisons"], settings) is None


def test_curves_end_where_they_end(inputs):
    curves = inputs.curves["align"].copy()
    curves.loc[curves["step"] >= 54, "loss"] = 0.125
    drawn = draw_curves("align", curves)
    assert (
        drawn.title
        == "align: the loss ends at 0.125 (single), 0.125 (parameter-matched), 0.125 (dual)"
    )
    one = draw_curves("reweight", inputs.curves["reweight"].head(1))
    assert one.title.startswith("reweight: the loss ends at")


def test_examples_show_the_pixels_and_the_places(inputs):
    row = inputs.rows("sink_examples")[0]
    example = draw_examples([row])[0]
    assert example.sinks == tuple((i // 6, i % 6) for i, sink in enumerate(row["sinks"]) if sink)
    shown = Image.open(io.BytesIO(base64.b64decode(example.picture.partition(",")[2])))
    np.testing.assert_array_equal(
        np.asarray(shown), np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB"))
    )
    norms = np.asarray(Image.open(io.BytesIO(base64.b64decode(example.norms.partition(",")[2]))))
    assert norms.shape == (6, 6, 3)
    brightness = norms.astype(int).sum(-1).ravel()
    assert np.argmax(brightness) == np.argmax(row["norms"])


def test_a_large_photograph_is_made_small(inputs):
    file = io.BytesIO()
    Image.new("RGB", (1500, 900), (10, 200, 30)).save(file, "PNG")
    row = {**inputs.rows("sink_examples")[0], "image": file.getvalue()}
    example = draw_examples([row])[0]
    shown = Image.open(io.BytesIO(base64.b64decode(example.picture.partition(",")[2])))
    assert max(shown.size) == 448


def test_metadata_of_an_image_stays_behind(inputs):
    file = io.BytesIO()
    image = Image.new("RGB", (300, 300))
    exif = image.getexif()
    exif[0x010E] = "taken at home"
    image.save(file, "JPEG", exif=exif)
    assert b"taken at home" in file.getvalue()
    example = draw_examples([{**inputs.rows("sink_examples")[0], "image": file.getvalue()}])[0]
    assert b"taken at home" not in base64.b64decode(example.picture.partition(",")[2])


def test_an_example_is_frozen(inputs):
    example = draw_examples(inputs.rows("sink_examples")[:1])[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        example.id = "other"


@pytest.mark.parametrize(("late", "named"), [(False, False), (True, True)])
def test_a_dose_is_drawn_with_its_order_and_who_has_not_converged(late, named):
    rows = [
        {"variant": variant, "model": "dual", "seed": seed, "id": f"q{item}", "image": f"i{item}",
         "group": ("global", "local")[item % 2], "level": level, "converged": not (late and level),
         "correct": float(variant == "oracle" or item % 4 != 0 or level == 0)}
        for variant in ("oracle", "both") for seed in (0, 1) for item in range(40)
        for level in (0, 1)
    ]  # fmt: skip
    table = dose_response(
        pd.DataFrame(rows), ("oracle", "both"), bootstrap=Bootstrap(100, 0.95, 0)
    ).assign(dose="d", knob="share", planted="rises", first="global", interval_level=0.95)
    table["level_name"] = table["level"].map({0: "none", 1: "much"})
    drawn = draw_dose(table)
    assert "from +0.0 to +50.0 points on global questions" in drawn.title
    assert "as it does" in drawn.title
    assert ("have converged at: much" in drawn.caption) is named
    assert "2 trainings" in drawn.caption
    assert "not every level" in draw_dose(table.assign(planted="falls")).title


def make_trials():
    """Three trials of a number and a choice; the second is the best."""
    tried = [(0.7, "a", 0.8), (0.1, "b", 0.9), (5.0, "a", 0.6)]
    rows = [
        {"study": "s", "trial": i, "value": value, "parameter": name, "setting": str(one)}
        | {"number": one if name == "x" else np.nan, "log": name == "x"}
        for i, (x, choice, value) in enumerate(tried)
        for name, one in (("x", x), ("selector.kind", choice))
    ]
    return pd.DataFrame(rows)


def test_a_search_is_drawn_by_trial_and_by_each_value():
    history, number, choice = draw_search("s", make_trials(), 0.85)
    assert history.title == "s: the best of 3 trials has 90.0 % (trial 2), the default 85.0 %"
    assert number.title == "s: x of the best trial is 0.1"
    assert choice.title == "s: selector.kind of the best trial is b"
    assert ">0.1<" in str(number.svg)  # plain numbers along a logarithmic axis
    assert ">a<" in str(choice.svg)
    assert "best so far" in str(history.svg)
