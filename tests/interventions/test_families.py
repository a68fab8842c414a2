"""What must hold in every family, on tiny random weights."""

from dataclasses import dataclass

import pytest
import torch

from diysink.architectures import (
    ENCODERS,
    LVLMS,
    encoder_family,
    recurrent_layers,
)
from diysink.architectures.hooks import eager_attention, on_layer
from diysink.interventions import (
    Drop,
    Keep,
    Reposition,
    VisualTokens,
    intervene,
    visual_norms,
)
from diysink.interventions.reading import image_arguments
from tests.interventions.tiny_lvlms import BUILDERS
from tests.interventions.tiny_parts import BOTH_WAYS, IMAGE, OF_TOKENS, RECURRENT

# Blocks (from 0) whose output the connector of a tiny model reads; each encoder has three or two.
READS = {"llava": [1], "llava_next": [1], "vipllava": [1, 0], "molmo2": [2, 0]}
SEPARATED = {"llava_next", "llava_onevision", "idefics3", "smolvlm"}
NEW = 4


@dataclass(frozen=True)
class Shuffled:
    """Not an intervention of ours: any function of tokens is one."""

    back: bool = False

    def __call__(self, tokens: VisualTokens) -> VisualTokens:
        order = torch.randperm(len(tokens.index), generator=torch.Generator().manual_seed(5))
        return tokens.reordered(order.argsort() if self.back else order, carry=True)


@torch.no_grad()
def logits(tiny, **more):
    return tiny.model(**(tiny.inputs | more)).logits


def middle(tiny) -> float:
    """A tau with half of all patches above it."""
    norms = torch.cat(visual_norms(tiny.model, **tiny.inputs))
    return float(norms[~norms.isnan()].median())


def words(tiny):
    """Places that hold text: what is computed at an image's places moves with its tokens."""
    return tiny.inputs["attention_mask"].bool() & (tiny.inputs["input_ids"] != IMAGE)


def test_every_family_has_a_tiny_model():
    assert set(LVLMS) <= {*BUILDERS, "diysink"}  # which has tests of its own


def test_what_a_family_says_of_its_layers_is_what_its_model_has(tiny):
    kinds = recurrent_layers(tiny.model.model.get_decoder())
    assert bool(kinds) == (tiny.name in RECURRENT)


def test_no_intervention_is_stock(tiny):
    with intervene(tiny.model, [], tau=middle(tiny)):
        inside = logits(tiny)
    assert torch.equal(inside, logits(tiny))


def test_keeping_all_is_stock(tiny):
    stock = logits(tiny)
    everything = [(Keep("sink"), 0.0), (Drop("sink"), 1e9), (Reposition("front"), 0.0)]
    for intervention, tau in everything:
        with intervene(tiny.model, intervention, tau=tau):
            assert torch.equal(logits(tiny), stock), intervention


def test_permuted_and_back_is_stock_and_permuted_is_not(tiny):
    stock = logits(tiny)
    with intervene(tiny.model, [Shuffled(), Shuffled(back=True)], tau=1.0):
        assert torch.equal(logits(tiny), stock)
    with intervene(tiny.model, Shuffled(), tau=1.0):
        changed = (logits(tiny) - stock)[words(tiny)].abs().max()
    if tiny.name in BOTH_WAYS:  # a full mask and carried positions: order is nothing
        assert changed < 1e-4
    else:
        assert changed > 1e-2


@pytest.mark.parametrize(
    "interventions",
    [
        [Keep("sink")],
        [Reposition("front", "carry"), Drop("nonsink", "carry")],
        [Drop("sink"), Reposition("end", "carry")],
    ],
    ids=["reindex", "carry", "both"],
)
def test_generation_is_what_a_call_without_cache_computes(tiny, interventions):
    prompt = tiny.inputs["input_ids"].shape[1]
    with torch.no_grad(), intervene(tiny.model, interventions, tau=middle(tiny)):
        asked = {
            "max_new_tokens": NEW,
            "output_logits": True,
            "return_dict_in_generate": True,
            "do_sample": False,
        }
        # Which transformers does not make longer where there is no cache.
        inputs = {n: v for n, v in tiny.inputs.items() if n != "moe_mm_token_type_ids"}
        cached = tiny.model.generate(**inputs, **asked)
        plain = tiny.model.generate(**inputs, **asked, use_cache=False)
    assert cached.sequences.shape[1] == prompt + NEW
    assert torch.equal(cached.sequences, plain.sequences)
    for one, other in zip(cached.logits, plain.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def stock_positions(tiny):
    """Position ids of a padded batch, as ``generate`` has them."""
    ids, mask = tiny.inputs["input_ids"], tiny.inputs["attention_mask"]
    family = LVLMS[tiny.model.config.model_type]
    if not family.coordinates:
        return (mask.cumsum(1) - 1).clamp(min=0)
    kinds, grids = tiny.inputs["mm_token_type_ids"], tiny.inputs["image_grid_thw"]
    rule = tiny.model.model.get_rope_index
    return rule(ids, kinds, image_grid_thw=grids, attention_mask=mask)[0]


def encoded(tiny, pick):
    """The stock features of all images together, ``pick`` applied to projection and deepstack."""
    given = image_arguments(tiny.model.model.get_image_features, tiny.inputs)
    with torch.no_grad():
        output = tiny.model.model.get_image_features(**given)

    def picked(features):
        flat = torch.cat([part.reshape(-1, part.shape[-1]) for part in features])[pick]
        return flat[None] if isinstance(features, torch.Tensor) else [flat]

    output.pooler_output = picked(output.pooler_output)
    if getattr(output, "deepstack_features", None):
        output.deepstack_features = [picked(level) for level in output.deepstack_features]
    return {"image": output}


@pytest.mark.parametrize("positions", ["reindex", "carry"])
def test_front_is_what_stock_makes_of_tokens_in_that_order(tiny, positions):
    """Features and position ids put in order by hand and given to the stock model."""
    tau, stay = middle(tiny), stock_positions(tiny)
    norms, order, start = torch.cat(visual_norms(tiny.model, **tiny.inputs)), [], 0
    for count in tiny.images:
        places = range(start, start + count)
        order += sorted(places, key=lambda place: not norms[place] >= tau)
        start += count
    assert order != list(range(start))
    moved = stay.clone()
    image = tiny.inputs["input_ids"] == IMAGE
    moved[..., image] = stay[..., image][..., order]
    by_hand = {
        name: tiny.inputs[name]
        for name in ("input_ids", "attention_mask", *OF_TOKENS)
        if name in tiny.inputs
    }
    with torch.no_grad():
        expected = tiny.model(
            **by_hand,
            mm_encoder_outputs=encoded(tiny, order),
            position_ids=moved if positions == "carry" else stay,
        ).logits
    with intervene(tiny.model, Reposition("front", positions), tau=tau):
        assert torch.equal(logits(tiny, position_ids=stay), expected)


def test_shortened_is_compacted(tiny):
    """The second sequence, its dropped placeholders taken out and the rest read by itself."""
    row, inputs = 1, tiny.inputs
    per_image = visual_norms(tiny.model, **inputs)
    tau = 1.001 * max(float(norms.nan_to_num(1e9).min()) for norms in per_image)  # none is emptied
    image = inputs["input_ids"] == IMAGE
    kept = inputs["attention_mask"].bool()
    kept[image] = ~(torch.cat(per_image) >= tau)
    positions = stock_positions(tiny)
    with intervene(tiny.model, Drop("sink"), tau=tau):
        ours = logits(tiny, position_ids=positions)[row, kept[row]]
    here = image.clone()
    here[1 - row] = False
    short = {
        name: inputs[name][row][kept[row]][None]
        for name in ("input_ids", "attention_mask", *OF_TOKENS)
        if name in inputs
    }
    length = short["input_ids"].shape[1]
    short["position_ids"] = (
        positions[:, row, kept[row]][:, None]
        if positions.dim() == 3
        else torch.arange(length)[None]
    )
    with torch.no_grad():
        compact = tiny.model(**short, mm_encoder_outputs=encoded(tiny, (here & kept)[image]))
    assert 0 < length < int(inputs["attention_mask"][row].sum())
    # Experts multiply groups of tokens at once: 2e-5 in float32, 3e-16 in float64.
    near = 1e-4 if tiny.name == "qwen3_5_moe" else 1e-5
    torch.testing.assert_close(ours, compact.logits[0], atol=near, rtol=1e-5)


def test_norms_are_those_of_the_states_that_each_token_reads(tiny):
    """Which patches make a token is asked of the gradient; the layer, of a table in this file."""
    inner = tiny.model.model
    tower = getattr(inner, LVLMS[tiny.model.config.model_type].tower)
    blocks = ENCODERS[encoder_family(tower.config.model_type)].blocks_of(tower)
    reads = [blocks[index] for index in READS.get(tiny.name, [len(blocks) - 1])]
    states = {}

    def watch(module, args, output):
        states[module] = output[0] if isinstance(output, tuple) else output

    handles = [block.register_forward_hook(watch) for block in reads]
    try:
        given = image_arguments(inner.get_image_features, tiny.inputs)
        output = inner.get_image_features(**given).pooler_output
    finally:
        for handle in handles:
            handle.remove()
    sizes = sum(states[block].square().sum(-1) for block in reads).sqrt().detach()
    if tiny.name in ("idefics3", "smolvlm"):  # patches of a blank border are none
        tile, side = tower.config.image_size // tower.config.patch_size, tower.config.patch_size
        shown = given["pixel_attention_mask"].flatten(0, 1)[:, ::side, ::side]
        shown = shown[shown.flatten(1).any(1)].reshape(-1, tile * tile)
        sizes = sizes.masked_fill(shown == 0, -torch.inf)
    tokens = torch.cat([part.reshape(-1, part.shape[-1]) for part in output])
    ours = torch.cat(visual_norms(tiny.model, **tiny.inputs))
    probe = torch.randn(tokens.shape[-1])  # behind a norm, a plain sum has no slope
    separators = 0
    for token, norm in zip(tokens, ours, strict=True):
        last = states[reads[0]]
        (slope,) = torch.autograd.grad(token @ probe, last, retain_graph=True, allow_unused=True)
        read = torch.zeros_like(sizes, dtype=torch.bool)
        if slope is not None:
            read = slope.abs().sum(-1) > 0
        largest = sizes[read].max() if read.any() else torch.tensor(-torch.inf)
        separators += int(largest.isinf())
        expected = torch.tensor(torch.nan) if largest.isinf() else largest
        torch.testing.assert_close(norm, expected, equal_nan=True)
    assert (separators > 0) == (tiny.name in SEPARATED)


@torch.no_grad()
def test_encoders_show_attention_if_their_row_says_so(tiny):
    inner = tiny.model.model
    tower = getattr(inner, LVLMS[tiny.model.config.model_type].tower)
    row, layers = ENCODERS[encoder_family(tower.config.model_type)], []
    if row.attention is None:
        return
    given = image_arguments(inner.get_image_features, tiny.inputs)
    with eager_attention(tower), on_layer(row.blocks_of(tower), row.attention, layers.append):
        inner.get_image_features(**given)
    assert len(layers) == len(row.blocks_of(tower))
    for layer in layers:
        torch.testing.assert_close(
            layer.attention.sum(-1), torch.ones_like(layer.attention[..., 0])
        )
        assert layer.values.shape[2] == layer.states.shape[1] == layer.attention.shape[-1]
