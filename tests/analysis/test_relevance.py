"""Maps of relevance: planted attention is measured, a shuffled mask finds nothing."""

import numpy as np
import pandas as pd
import pytest
import torch

from diysink.analysis.random_matched import random_matched_tokens
from diysink.analysis.relevance import (
    MEAN,
    each_map,
    example_maps,
    relevance_by_image,
    relevance_table,
    spatial_entropy,
)
from tests.tiny_models import tiny_generator

OPTIONS = {"resamples": 100, "level": 0.9, "seed": 0}
TOKENS = 9


def test_entropy_by_hand():
    maps = torch.zeros(1, 4, 3)
    maps[0, :, 0] = 0.25  # even
    maps[0, 2, 1] = 1.0  # one patch
    maps[0, :2, 2] = 0.5  # two of four: half of the bits
    torch.testing.assert_close(spatial_entropy(maps)[0], torch.tensor([1.0, 0.0, 0.5]))


@pytest.fixture(scope="module")
def model(parts):
    made = tiny_generator(parts, connector="single", arrangement="natural").model
    torch.manual_seed(0)
    for name, weight in made.model.vision_tower.named_parameters():
        if "q_proj.weight" in name or "k_proj.weight" in name:
            torch.nn.init.normal_(weight)  # attention that depends on what it sees
    return made.eval()


def test_maps_are_columns_of_transformers_own_attention(model):
    torch.manual_seed(1)
    pixels = torch.randn(2, 3, 12, 12)
    tower = model.model.vision_tower
    tower.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = tower(pixels, output_attentions=True).attentions
    tower.set_attn_implementation("sdpa")
    seen = {}
    each_map(model, pixels, lambda layer, head, maps: seen.__setitem__((layer, head), maps))
    assert set(seen) == {(layer, head) for layer in (0, 1) for head in (0, 1, MEAN)}
    prefix = attentions[0].shape[-1] - TOKENS
    for (layer, head), maps in seen.items():
        whole = attentions[layer].mean(1) if head == MEAN else attentions[layer][:, head]
        patches = whole[:, prefix:, prefix:]
        expected = patches / patches.sum(1, keepdim=True)
        torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-4)
    [example] = [m for m in example_maps(model, pixels[:1], {"sink": 4}) if m.layer == 1]
    torch.testing.assert_close(torch.tensor(example.map), seen[1, MEAN][0, :, 4])


def test_each_image_has_the_means_of_its_chosen_tokens(model):
    torch.manual_seed(2)
    pixels = torch.randn(3, 3, 12, 12)
    sinks = torch.zeros(3, TOKENS, dtype=torch.bool)
    sinks[0, [1, 5]] = True
    sinks[1, 0] = True  # the third image has none: no rows
    tokens = {"sink": sinks, "matched": random_matched_tokens(sinks, ["a", "b", "c"], 0)}
    inside = torch.zeros(3, TOKENS, dtype=torch.bool)
    inside[0, :3] = True  # the second image has no box
    made = relevance_by_image(model, pixels, ["a", "b", "c"], tokens, inside)
    assert set(made["image"]) == {"a", "b"}
    assert len(made) == 2 * 2 * 3 * 2
    seen = {}
    each_map(model, pixels, lambda layer, head, maps: seen.__setitem__((layer, head), maps))
    row = made.query("image == 'a' and layer == 1 and head == 0 and tokens == 'sink'").iloc[0]
    assert row["entropy"] == pytest.approx(float(spatial_entropy(seen[1, 0])[0, [1, 5]].mean()))
    assert row["inside"] == pytest.approx(float(seen[1, 0][0, :3][:, [1, 5]].sum(0).mean()))
    assert row["area"] == pytest.approx(1 / 3)
    assert made[made["image"] == "b"][["inside", "area"]].isna().all(axis=None)
    alone = relevance_by_image(
        model, pixels[:1], ["a"], {k: v[:1] for k, v in tokens.items()}, inside[:1]
    )
    pd.testing.assert_frame_equal(
        alone, made[made["image"] == "a"].reset_index(drop=True), check_exact=False, rtol=1e-5
    )


def planted(images=60, shuffle=False):
    """Measured tables of maps in which sinks are seen from everywhere, others from their place."""
    rng = np.random.default_rng(0)
    rows = []
    for image in range(images):
        sinks = np.zeros(TOKENS, dtype=bool)
        sinks[rng.choice(TOKENS, 3, replace=False)] = True
        entropy = np.where(sinks, 0.95, 0.4) + rng.normal(0, 0.03, TOKENS)
        share = np.where(sinks, 0.33, 0.7) + rng.normal(0, 0.03, TOKENS)
        mask = rng.permutation(sinks) if shuffle else sinks
        drawn = random_matched_tokens(torch.from_numpy(mask)[None], [f"{image}"], 0)[0].numpy()
        for name, chosen in (("sink", mask), ("matched", drawn)):
            rows.append(
                {
                    "image": f"{image}", "layer": 0, "head": MEAN, "tokens": name,
                    "entropy": entropy[chosen].mean(), "inside": share[chosen].mean(),
                    "area": 1 / 3,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def test_broad_sinks_are_found_and_shuffled_masks_find_nothing():
    made = relevance_table(planted(), **OPTIONS).set_index("tokens")
    assert made.loc["sink", "entropy"] == pytest.approx(0.95, abs=0.02)
    assert made.loc["matched", "entropy"] == pytest.approx(0.4, abs=0.02)
    assert made.loc["sink - matched", "entropy_low"] > 0.5
    assert made.loc["sink - matched", "inside_high"] < -0.3
    assert made.loc["sink", "n_images"] == 60
    control = relevance_table(planted(shuffle=True), **OPTIONS).set_index("tokens")
    gap = control.loc["sink - matched"]
    assert gap["entropy_low"] < 0 < gap["entropy_high"]
    assert gap["inside_low"] < 0 < gap["inside_high"]


def test_without_boxes_there_is_no_share_inside():
    made = relevance_table(planted().assign(inside=np.nan, area=np.nan), **OPTIONS)
    assert made[["inside", "inside_low", "inside_high", "area"]].isna().all(axis=None)
    assert made["entropy"].notna().all()
