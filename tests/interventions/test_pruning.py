"""Dropped tokens are not read at all, and the answer is that of the masked ones.

A call that asks for hidden states masks dropped tokens; so a test has both ways.
"""

import gc
import weakref
from copy import deepcopy

import pytest
import torch

from diysink.architectures import UnsupportedInterventionError
from diysink.interventions import VAR, Drop, Keep, Reposition, intervene, visual_norms
from diysink.interventions.interception import Interception
from tests.interventions.conftest import built
from tests.interventions.test_intervene import alone
from tests.interventions.tiny_lvlms import Tiny
from tests.interventions.tiny_packed import gemma4
from tests.interventions.tiny_parts import IMAGE, RECURRENT, VIDEO, spread

MASKED = {"output_hidden_states": True}
GREEDY = {"max_new_tokens": 5, "do_sample": False}
WAYS = {
    "greedy": GREEDY,
    "beams": {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 4, "do_sample": False},
    "sampling": {"do_sample": True, "max_new_tokens": 5, "num_return_sequences": 2},
}


class Watch:
    """What is left of each image's tokens after the interventions before this one."""

    def __init__(self):
        self.kept = []

    def __call__(self, tokens):
        self.kept.append(tokens.kept)
        return tokens

    def columns(self, tiny):
        """Which columns of the batch are left."""
        left = tiny.inputs["attention_mask"].bool()
        left[tiny.inputs["input_ids"] == IMAGE] = torch.cat(self.kept)
        return left


def tau(tiny):
    return float(torch.cat(visual_norms(tiny.model, **tiny.inputs)).nanmedian())


@torch.no_grad()
def called(tiny, change, **more):
    """The output of a call, and which columns are left."""
    watch = Watch()
    with intervene(tiny.model, [change, watch], tau=tau(tiny)):
        output = tiny.model(**(tiny.inputs | more), use_cache=True)
    return output, watch.columns(tiny)


def keys(cache):
    """Columns of the first layer that has keys."""
    return next(layer.keys.shape[2] for layer in cache.layers if hasattr(layer, "keys"))


@pytest.mark.parametrize("positions", ["reindex", "carry"])
def test_fewer_columns_give_what_masked_ones_give(tiny, positions):
    ours, left = called(tiny, Drop("sink", positions))
    length = tiny.inputs["input_ids"].shape[1]
    counts = left.sum(1)
    assert counts[0] != counts[1]  # one sequence is filled up
    assert keys(ours.past_key_values) == counts.max() < length
    assert ours.past_key_values.get_seq_length() == length
    assert ours.logits.shape[:2] == (2, length)
    if tiny.name in RECURRENT:
        with pytest.raises(UnsupportedInterventionError, match="layers that do not attend"):
            called(tiny, Drop("sink", positions), **MASKED)
        return
    masked, _ = called(tiny, Drop("sink", positions), **MASKED)
    assert keys(masked.past_key_values) == length
    torch.testing.assert_close(ours.logits[left], masked.logits[left], atol=1e-5, rtol=1e-5)


def test_other_columns_give_something_else(tiny, monkeypatch):
    """The control: of one image a token is read that is dropped, in place of one that is not."""
    expected, left = called(tiny, Drop("sink"))
    original = Interception._kept

    def swapped(self, call, layout, past):
        kept = original(self, call, layout, past).clone()
        image = call["input_ids"][1] == IMAGE
        first = (kept[1] & image).nonzero()[0, 0]
        last = (~kept[1] & image).nonzero()[-1, 0]
        kept[1, first], kept[1, last] = False, True
        return kept

    monkeypatch.setattr(Interception, "_kept", swapped)
    wrong, _ = called(tiny, Drop("sink"))
    words = left & (tiny.inputs["input_ids"] != IMAGE)
    assert (wrong.logits - expected.logits)[1, words[1]].abs().max() > 1e-2
    torch.testing.assert_close(wrong.logits[0], expected.logits[0], atol=1e-5, rtol=1e-5)


@pytest.fixture(params=["llava_next", "internvl", "gemma3", "qwen2_5_vl", "qwen3_vl", "molmo2"])
def kind(request):
    """Families whose calls differ most: tiles, masks both ways, coordinates, deepstack."""
    return built(request.param)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "change",
    [Keep("sink"), [Reposition("front", "carry"), Drop("nonsink", "carry")]],
    ids=["reindex", "carry"],
)
def test_answers_are_those_of_masked_tokens(kind, way, change):
    found = []
    for more in ({}, MASKED):
        torch.manual_seed(3)
        with torch.no_grad(), intervene(kind.model, change, tau=tau(kind)):
            asked = WAYS[way] | {"return_dict_in_generate": True, "output_logits": True}
            found.append(kind.model.generate(**kind.inputs, **asked, **more))
    ours, masked = found
    assert torch.equal(ours.sequences, masked.sequences)
    torch.testing.assert_close(ours.logits, masked.logits, atol=1e-5, rtol=1e-5)
    assert keys(ours.past_key_values) < keys(masked.past_key_values) - 2


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "qwen3_5"])
def test_an_answer_goes_on_from_a_cache(name):
    """`generate` is told the caller's columns, and goes back and on in them."""
    tiny = built(name)
    given = {k: v for k, v in alone(tiny, 1).items() if not k.startswith("pixel")}
    pixels = alone(tiny, 1)["pixel_values"]
    length = given["input_ids"].shape[1]
    with torch.no_grad(), intervene(tiny.model, Drop("sink"), tau=tau(tiny)):
        asked = GREEDY | {"return_dict_in_generate": True}
        first = tiny.model.generate(**given, **asked, pixel_values=pixels)
        whole = first.sequences
        mask = torch.ones_like(whole)
        again = {"input_ids": whole, "attention_mask": mask}
        if "mm_token_type_ids" in given:
            kinds = torch.nn.functional.pad(given["mm_token_type_ids"], (0, 5))
            again |= {"mm_token_type_ids": kinds, "image_grid_thw": given["image_grid_thw"]}
        cache = deepcopy(first.past_key_values)
        on = tiny.model.generate(**again, **GREEDY, past_key_values=cache)
        assert torch.equal(on, tiny.model.generate(**again, **GREEDY, pixel_values=pixels))
        if name in RECURRENT:
            return
        cache = first.past_key_values
        assert cache.get_seq_length() == length + 4
        cache.crop(length - 1 - cache.get_seq_length())
        back = tiny.model.generate(**given, **GREEDY, past_key_values=cache)
        assert torch.equal(back, whole)
        cache.crop(-14)  # four of the answer, three words behind an image, seven of its tokens
        with pytest.raises(ValueError, match="was cropped to"):
            tiny.model(input_ids=given["input_ids"][:, -2:], past_key_values=cache)


def test_a_cache_is_freed_with_its_last_name(llava):
    """At 7B it is gigabytes, and the garbage collector runs whenever it likes."""
    output, _ = called(llava, Drop("sink"))
    cache = output.past_key_values
    assert cache.get_seq_length() > keys(cache)
    copy = deepcopy(cache)
    assert copy.get_seq_length() == cache.get_seq_length()
    gone = [weakref.ref(cache), weakref.ref(copy)]
    gc.disable()
    try:
        del output, cache, copy
        assert [one() for one in gone] == [None, None]
    finally:
        gc.enable()


def test_the_loss_is_that_of_the_sequence_without_them(llava):
    """Padded on the right, as in training; labels behind the images."""
    row = alone(llava, 1)
    ids = torch.nn.functional.pad(row["input_ids"], (0, 3))
    mask = (ids != 0).long()
    labels = ids.clone()
    labels[:, : int((ids[0] == IMAGE).nonzero()[-1]) + 1] = -100
    labels[mask == 0] = -100
    watch = Watch()
    model, pixels = llava.model, row["pixel_values"]
    with intervene(model, [Drop("sink"), watch], tau=tau(llava)):
        output = model(input_ids=ids, attention_mask=mask, pixel_values=pixels, labels=labels)
    left = mask.bool()
    left[ids == IMAGE] = torch.cat(watch.kept)
    features = model.model.get_image_features(pixels)
    features.pooler_output = [torch.cat(list(features.pooler_output))[torch.cat(watch.kept)]]
    short = model(
        input_ids=ids[left][None],
        labels=labels[left][None],
        mm_encoder_outputs={"image": features},
    )
    torch.testing.assert_close(output.loss, short.loss, atol=1e-6, rtol=1e-5)
    weight = model.model.multi_modal_projector.linear_1.weight
    slopes = [torch.autograd.grad(one.loss, weight)[0] for one in (output, short)]
    torch.testing.assert_close(*slopes, atol=1e-6, rtol=1e-4)
    assert slopes[0].abs().max() > 0


def test_the_last_column_may_be_a_dropped_one(llava):
    """An image ends the prompt: what comes next follows the last token that is left."""
    row = alone(llava, 0)
    end = int((row["input_ids"][0] == IMAGE).nonzero()[-1]) + 1
    row = {name: row[name][:, :end] for name in ("input_ids", "attention_mask")} | {
        "pixel_values": row["pixel_values"]
    }

    def keep_first(tokens):
        return tokens.__class__(**vars(tokens) | {"kept": first, "closed": ~first})

    first = torch.arange(16) < 5
    with torch.no_grad(), intervene(llava.model, keep_first, tau=1.0):
        logits = llava.model(**row).logits
        tuples = llava.model(**row, return_dict=False)[0]
    assert torch.equal(logits, tuples)
    assert torch.equal(logits[0, -1], logits[0, end - 12])
    assert not torch.equal(logits[0, -1], logits[0, end - 13])


@pytest.mark.parametrize("change", [[Drop("sink"), VAR(share=0.0)], Drop("sink", "carry")], ids=str)
def test_where_columns_must_stay_tokens_are_masked(llava, change):
    """VAR reads columns; to flash attention, gaps between positions part sequences."""
    language, seen = llava.model.model.language_model, []

    class Seen(Exception):
        pass

    def look(module, positional, given):
        seen.append(given)
        raise Seen

    hook = language.register_forward_pre_hook(look, with_kwargs=True)
    before = language.config._attn_implementation
    if isinstance(change, Drop):
        language.config._attn_implementation = "flash_attention_2"
    try:
        with pytest.raises(Seen), intervene(llava.model, change, tau=tau(llava)):
            llava.model(**llava.inputs)
    finally:
        hook.remove()
        language.config._attn_implementation = before
    length = llava.inputs["input_ids"].shape[1]
    assert seen[0]["inputs_embeds"].shape[1] == seen[0]["attention_mask"].shape[1] == length
    assert seen[0]["attention_mask"].sum() < llava.inputs["attention_mask"].sum()


def test_sequences_of_a_recurrent_model_lose_as_many_each_behind_a_cache():
    """Filled up amid the sequence, its state would run on over nothing."""
    tiny = built("lfm2_vl")
    start = {"input_ids": torch.tensor([[11, 12], [13, 14]])}
    mask = torch.nn.functional.pad(tiny.inputs["attention_mask"], (2, 0), value=1)
    with torch.no_grad(), intervene(tiny.model, Drop("sink"), tau=tau(tiny)):
        cache = tiny.model(**start, use_cache=True).past_key_values
        more = tiny.inputs | {"attention_mask": mask, "past_key_values": cache}
        with pytest.raises(UnsupportedInterventionError, match="different numbers of tokens"):
            tiny.model(**more)


def test_layers_may_compute_the_last_column_alone():
    """Gemma 4's layers that share keys, in `generate`: hidden states of one column come back."""
    torch.manual_seed(0)
    kinds = ["sliding_attention", "full_attention", "full_attention"]
    model, inputs, tokens = gemma4(num_kv_shared_layers=1, layer_types=kinds)
    spread(model)
    tiny = Tiny("gemma4", model.eval(), inputs, tokens)
    model.generation_config.update(suppress_tokens=[IMAGE, VIDEO], eos_token_id=None)
    found = []
    for more in ({}, MASKED):
        with torch.no_grad(), intervene(model, Drop("sink"), tau=tau(tiny)):
            asked = GREEDY | {"return_dict_in_generate": True, "output_logits": True}
            found.append(model.generate(**inputs, **asked, **more))
    torch.testing.assert_close(found[0].logits, found[1].logits, atol=1e-5, rtol=1e-5)
