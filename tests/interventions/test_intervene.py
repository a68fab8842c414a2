"""The block: what it leaves behind, how calls of all kinds run in it, what it refuses."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from threading import Thread
from time import sleep

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, DynamicCache, LlavaProcessor, pipeline

from diysink.interventions import (
    Drop,
    Keep,
    RandomMatched,
    Replace,
    Reposition,
    Scale,
    intervene,
    visual_norms,
)
from diysink.interventions.reading import encoder_identity
from diysink.sinks import ProfileMismatchError, SinkProfile
from tests.interventions.tiny_parts import IMAGE, sequences, text

ALL = [
    Reposition("front"),
    Reposition("end", "carry"),
    Keep("sink"),
    Drop("sink", "carry"),
    Replace("sink", "mean"),
    Scale("sink", 2.0),
    RandomMatched(Replace("sink", "zero")),
    [Reposition("front", "carry"), Drop("nonsink")],
]


@torch.no_grad()
def logits(tiny, **more):
    return tiny.model(**(tiny.inputs | more)).logits


def middle(tiny):
    return float(torch.cat(visual_norms(tiny.model, **tiny.inputs)).nanmedian())


def alone(tiny, row):
    """One sequence of the batch with its own images, its padding cut away."""
    inputs, true = tiny.inputs, tiny.inputs["attention_mask"][row].bool()
    single = {name: inputs[name][row, true][None] for name in ("input_ids", "attention_mask")}
    pictures = slice(0, 1) if row == 0 else slice(1, None)
    if "image_grid_thw" in inputs:
        counts = inputs["image_grid_thw"].prod(-1).tolist()
        single["mm_token_type_ids"] = inputs["mm_token_type_ids"][row, true][None]
        single["image_grid_thw"] = inputs["image_grid_thw"][pictures]
        single["pixel_values"] = torch.cat(inputs["pixel_values"].split(counts)[pictures])
    else:
        single["pixel_values"] = inputs["pixel_values"][pictures]
    return single


def state_of(model):
    """Everything that hangs on a model besides weights: attributes, hooks, attention."""
    return [
        (
            name,
            sorted(set(vars(module)) - {"rope_deltas"}),
            len(module._forward_hooks) + len(module._forward_pre_hooks),
            getattr(getattr(module, "config", None), "_attn_implementation", None),
        )
        for name, module in model.named_modules()
    ]


def test_leaving_restores_the_model(shape):
    tau = middle(shape)
    stock, before = logits(shape), state_of(shape.model)
    for interventions in ALL:
        with intervene(shape.model, interventions, tau=tau):
            assert state_of(shape.model) != before
            inside = logits(shape)
        assert state_of(shape.model) == before
        assert torch.equal(logits(shape), stock)
        assert not torch.allclose(inside, stock, atol=1e-4), interventions


def test_an_error_inside_restores_the_model_too(llava):
    stock, before = logits(llava), state_of(llava.model)
    with pytest.raises(KeyError), intervene(llava.model, Reposition("front"), tau=1.0):
        raise KeyError
    assert state_of(llava.model) == before
    assert torch.equal(logits(llava), stock)


@pytest.mark.parametrize("intervention", ALL, ids=str)
def test_a_batch_is_one_by_one(shape, intervention):
    """Also the random control: what it draws depends on the image and not on its batch."""
    with intervene(shape.model, intervention, tau=middle(shape)):
        mask = shape.inputs["attention_mask"]
        positions = (mask.cumsum(1) - 1).clamp(min=0)  # padding does not count, as in generate
        more = {} if "image_grid_thw" in shape.inputs else {"position_ids": positions}
        together = logits(shape, **more)
        for row in (0, 1):
            with torch.no_grad():
                single = shape.model(**alone(shape, row)).logits[0]
            torch.testing.assert_close(
                together[row, mask[row].bool()], single, atol=2e-5, rtol=1e-4
            )


BEAMS = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 4, "do_sample": False}


def test_beams_with_a_cache_are_beams_without(tiny):
    # transformers 5.23 mixes up several images of one prompt under beams in GLM-V, without us too,
    # and does not make ERNIE's kinds of tokens longer where there is no cache.
    inputs = alone(tiny, 0) if tiny.name.startswith("glm") else tiny.inputs
    inputs = {name: v for name, v in inputs.items() if name != "moe_mm_token_type_ids"}
    with torch.no_grad(), intervene(tiny.model, ALL[-1], tau=middle(tiny)):
        cached = tiny.model.generate(**inputs, **BEAMS)
        plain = tiny.model.generate(**inputs, **BEAMS, use_cache=False)
    assert torch.equal(cached, plain)


def test_beams_of_a_batch_are_those_of_each_sequence(shape):
    with torch.no_grad(), intervene(shape.model, ALL[-1], tau=middle(shape)):
        together = shape.model.generate(**shape.inputs, **BEAMS)
        single = [shape.model.generate(**alone(shape, row), **BEAMS) for row in (0, 1)]
    assert torch.equal(together[:, -4:], torch.cat([one[:, -4:] for one in single]))


def test_tokens_guessed_ahead_change_nothing(llava):
    """Prompt lookup reads several tokens at once and takes wrong ones back out of the cache."""
    asked = {"max_new_tokens": 12, "do_sample": False}
    with torch.no_grad(), intervene(llava.model, ALL[-1], tau=middle(llava)):
        plain = llava.model.generate(**alone(llava, 1), **asked)
        guessed = llava.model.generate(**alone(llava, 1), **asked, prompt_lookup_num_tokens=3)
    assert torch.equal(plain, guessed)


def test_a_pipeline_runs_unchanged(llava, tokenizer):
    """Processor, chat text and generate of transformers itself, with a picture of its own size."""
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        tokenizer,
        patch_size=4,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    model = deepcopy(llava.model)
    model.config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    model.generation_config.suppress_tokens = [*range(14, 64), model.config.image_token_id]
    pixels = torch.rand(20, 30, 3, generator=torch.Generator().manual_seed(2))
    picture = Image.fromarray((pixels * 255).byte().numpy())
    ask = pipeline("image-text-to-text", model=model, processor=processor)
    text = "USER: <image> a b ASSISTANT:"

    def answer():
        asked = {"max_new_tokens": 6, "do_sample": False}
        return ask(images=picture, text=text, generate_kwargs=asked)[0]["generated_text"]

    stock = answer()
    inputs = processor(images=picture, text=text, return_tensors="pt")
    (norms,) = visual_norms(model, **inputs)
    with intervene(model, Drop("sink"), tau=float(norms.median())):
        inside = answer()
        expected = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    assert processor.decode(expected[0, -6:], skip_special_tokens=True) in inside
    assert inside != stock
    assert answer() == stock


@pytest.mark.parametrize("intervention", [ALL[1], ALL[2], ALL[3], ALL[-1]], ids=str)
def test_a_second_question_with_another_image_goes_on_from_the_cache(llava, intervention):
    pixels = llava.inputs["pixel_values"][:2]
    image = [IMAGE] * 16
    first, second = text(1, 2) + image + text(3), text(4) + image + text(5)
    whole = sequences(first + second)["input_ids"]
    with torch.no_grad(), intervene(llava.model, intervention, tau=middle(llava)):
        once = llava.model(input_ids=whole, pixel_values=pixels).logits
        cache = DynamicCache()
        for ids, pixel in ((first, pixels[:1]), (second, pixels[1:])):
            mine = deepcopy(cache)  # as one does to ask several questions about one image
            ids = torch.tensor([ids])
            out = llava.model(input_ids=ids, pixel_values=pixel, past_key_values=mine)
            cache = mine
    torch.testing.assert_close(out.logits, once[:, len(first) :], atol=1e-5, rtol=1e-5)


def test_front_by_hand(llava):
    """Features gathered and positions written down outside, given to the stock model."""
    tau, row = middle(llava), alone(llava, 0)
    (norms,) = visual_norms(llava.model, **row)
    order = sorted(range(16), key=lambda token: bool(norms[token] < tau))
    with torch.no_grad():
        encoded = llava.model.model.get_image_features(row["pixel_values"])
        encoded.pooler_output = [encoded.pooler_output[0][order]]
        given = {"input_ids": row["input_ids"], "mm_encoder_outputs": {"image": encoded}}
        start = int((row["input_ids"][0] == IMAGE).nonzero()[0])
        carried = torch.arange(row["input_ids"].shape[1])
        carried[start : start + 16] = torch.tensor(order) + start
        for positions, ids in (("reindex", None), ("carry", carried[None])):
            by_hand = llava.model(
                **deepcopy(given), attention_mask=row["attention_mask"], position_ids=ids
            ).logits
            with intervene(llava.model, Reposition("front", positions), tau=tau):
                ours = llava.model(**row).logits
            assert torch.equal(ours, by_hand)
    assert order != list(range(16))


def test_carried_positions_are_not_read_as_packed_sequences(llava):
    row = alone(llava, 0)
    with torch.no_grad(), intervene(llava.model, Reposition("end", "carry"), tau=middle(llava)):
        masked = llava.model(**row).logits
        row.pop("attention_mask")
        assert torch.equal(llava.model(**row).logits, masked)


def test_a_control_is_not_the_thing_itself(llava):
    tau, results = middle(llava) * 1.1, []
    for intervention in (
        Drop("sink"),
        RandomMatched(Drop("sink"), 0),
        RandomMatched(Drop("sink"), 1),
    ):
        with intervene(llava.model, intervention, tau=tau):
            results.append(logits(llava))
    for one in range(3):
        assert not torch.allclose(results[one], results[one - 1], atol=1e-3)


def test_a_call_without_images_is_stock(shape):
    given = {"input_ids": torch.tensor([text(1, 2, 3)])}
    with torch.no_grad():
        stock = shape.model(**given).logits
        with intervene(shape.model, Drop("sink"), tau=1.0):
            assert torch.equal(shape.model(**given).logits, stock)


def test_a_static_cache_can_be_reordered_and_not_dropped_from(llava):
    row, tau = alone(llava, 0), middle(llava)
    asked = {"max_new_tokens": 3, "do_sample": False}
    with torch.no_grad(), intervene(llava.model, Reposition("front", "carry"), tau=tau):
        static = llava.model.generate(**row, **asked, cache_implementation="static")
        assert torch.equal(static, llava.model.generate(**row, **asked))
    with (
        torch.no_grad(),
        intervene(llava.model, Drop("sink"), tau=tau),
        pytest.raises(ValueError, match="Use the dynamic cache"),
    ):
        llava.model.generate(**row, **asked, cache_implementation="static")


def test_a_cache_may_be_multiplied(llava):
    """Two prompts read once, then two answers to each."""
    ids, tau = llava.inputs["input_ids"], middle(llava)
    mask = llava.inputs["attention_mask"]
    said = torch.tensor([[21, 22], [23, 24], [25, 26], [27, 28]])
    wide = {"input_ids": torch.cat([ids.repeat_interleave(2, 0), said], 1)}
    wide["attention_mask"] = torch.cat([mask.repeat_interleave(2, 0), torch.ones_like(said)], 1)
    pixels = llava.inputs["pixel_values"]
    with torch.no_grad(), intervene(llava.model, ALL[-1], tau=tau):
        once = llava.model(**wide, pixel_values=pixels[[0, 0, 1, 2, 1, 2]]).logits
        cache = llava.model(**llava.inputs, use_cache=True).past_key_values
        cache.batch_repeat_interleave(2)
        more = {"past_key_values": cache, "attention_mask": wide["attention_mask"]}
        resumed = llava.model(input_ids=said, **more).logits
        with pytest.raises(ValueError, match="4 sequences, and the call has 3"):
            llava.model(input_ids=said[:3], past_key_values=cache)
    torch.testing.assert_close(resumed, once[:, -2:], atol=1e-5, rtol=1e-5)


def test_threads_share_a_block(llava):
    rows = [alone(llava, 0), alone(llava, 1)]
    found = {}

    def run(row, times):
        with torch.no_grad():
            found[row] = [llava.model(**rows[row]).logits for _ in range(times)]

    slow = llava.model.model.vision_tower.encoder.layers[-1].register_forward_hook(
        lambda *_: sleep(0.005)  # so that one encodes while the other does
    )
    try:
        with intervene(llava.model, ALL[-1], tau=middle(llava)):
            for row in (0, 1):
                run(row, 1)
            expected = dict(found)
            threads = [Thread(target=run, args=(row, 8)) for row in (0, 1)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        slow.remove()
    for row in (0, 1):
        assert all(torch.equal(one, expected[row][0]) for one in found[row])


def test_labels_and_gradients_pass_through(llava):
    labels = llava.inputs["input_ids"].masked_fill(llava.inputs["attention_mask"] == 0, -100)
    labels = labels.masked_fill(labels == IMAGE, -100)
    with intervene(llava.model, Reposition("front"), tau=middle(llava)):
        loss = llava.model(**llava.inputs, labels=labels).loss
    slope = torch.autograd.grad(loss, llava.model.model.multi_modal_projector.linear_1.weight)[0]
    assert slope.abs().max() > 0


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_a_model_under_peft(llava):
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(deepcopy(llava.model), LoraConfig(target_modules=["q_proj"], r=2))
    tau = middle(llava)
    with torch.no_grad(), intervene(adapted, Reposition("front"), tau=tau):
        ours = adapted(**llava.inputs).logits
    with intervene(llava.model, Reposition("front"), tau=tau):
        torch.testing.assert_close(ours, logits(llava))


def profile_of(identity, tau):
    """A profile that says no more than a threshold."""
    return SinkProfile(
        encoder=identity,
        tau=tau,
        method="fixed",
        interval=None,
        found=True,
        evidence=(),
        sink_dimensions=(),
        edges=(),
        histogram=(),
        sinks_per_image=(),
        grid=(4, 4),
        settings={},
    )


def test_a_model_spread_over_devices(shape):
    """What accelerate does under ``device_map``: copies of all that goes in, device by device."""
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    spread, tau = deepcopy(shape.model), middle(shape)
    for module in (spread, spread.model, spread.model.get_decoder()):
        add_hook_to_module(module, AlignDevicesHook(execution_device="cpu", io_same_device=True))
    before = state_of(spread)
    with torch.no_grad(), intervene(spread, ALL[-1], tau=tau):
        ours = spread.generate(**shape.inputs, max_new_tokens=3, do_sample=False)
    with torch.no_grad(), intervene(shape.model, ALL[-1], tau=tau):
        assert torch.equal(ours, shape.model.generate(**shape.inputs, max_new_tokens=3))
    assert state_of(spread) == before


def test_a_profile_says_what_a_sink_is(llava):
    profile = profile_of(encoder_identity(llava.model), tau=middle(llava))
    with intervene(llava.model, Drop("sink"), profile=profile):
        by_profile = logits(llava)
    with intervene(llava.model, Drop("sink"), tau=middle(llava)):
        assert torch.equal(by_profile, logits(llava))
    seen = []

    def look(tokens):
        seen.append(tokens)
        return tokens

    with intervene(llava.model, look, profile=replace(profile, tau=1.02, relative=True)):
        logits(llava)
    sinks = torch.stack([tokens.sinks for tokens in seen])
    norms = torch.stack([tokens.norms for tokens in seen])
    lower = norms.sort(1).values[:, (norms.shape[1] - 1) // 2]  # of 16, the lower middle
    assert torch.equal(sinks, norms / lower[:, None] >= 1.02)
    assert 0 < sinks.sum() < sinks.numel()
    other = deepcopy(llava.model)
    with torch.no_grad():
        other.model.vision_tower.encoder.layers[0].mlp.fc1.weight[0, 0] += 1
    with (
        pytest.raises(ProfileMismatchError),
        intervene(other, Drop("sink"), profile=profile),
    ):
        pass


def refused(model, match, interventions=(), call=lambda: None, **threshold):
    threshold = threshold or {"tau": 1.0}
    with (
        pytest.raises(ValueError, match=match),
        torch.no_grad(),
        intervene(model, interventions, **threshold),
    ):
        call()


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_what_cannot_be_done_is_refused(llava, shape):
    model, inputs = llava.model, llava.inputs
    refused(model, "Give either a profile", profile=None, tau=None)
    with intervene(model, [], tau=1.0):
        refused(model, "already")
    encoded = {
        "mm_encoder_outputs": {"image": model.model.get_image_features(inputs["pixel_values"])}
    }
    refused(
        model, "outside the block", call=lambda: model(input_ids=inputs["input_ids"], **encoded)
    )
    embeds = model.get_input_embeddings()(inputs["input_ids"])
    pixels = inputs["pixel_values"]
    refused(model, "input_ids", call=lambda: model(inputs_embeds=embeds, pixel_values=pixels))
    whole, none = (
        inputs["input_ids"],
        inputs["input_ids"].masked_fill(inputs["input_ids"] == IMAGE, 9),
    )
    for ids in (whole[:, 8:-6], whole[:, :20], none):
        refused(model, "add up", call=lambda ids=ids: model(input_ids=ids, pixel_values=pixels))
    chunks = {"max_new_tokens": 2, "prefill_chunk_size": 8}
    refused(model, "without chunks", call=lambda: model.generate(**alone(llava, 0), **chunks))
    refused(torch.compile(deepcopy(model)), "compiled")
    if shape.name == "qwen2_5_vl":
        video = {"pixel_values_videos": shape.inputs["pixel_values"]}
        refused(shape.model, "video", call=lambda: shape.model(**(shape.inputs | video)))


def test_other_models_are_refused_with_the_names_of_those_that_work(llava):
    with (
        pytest.raises(ValueError, match=r"'llama'.*llava, llava_next"),
        intervene(llava.model.model.language_model, [], tau=1.0),
    ):
        pass
    with pytest.raises(TypeError, match="Linear"), intervene(torch.nn.Linear(1, 1), [], tau=1.0):
        pass


def test_flash_attention_cannot_carry(llava):
    config = llava.model.model.language_model.config
    config._attn_implementation = "flash_attention_2"
    try:
        carry = RandomMatched(Reposition("front", "carry"))
        call = partial(llava.model, **llava.inputs)
        refused(llava.model, "positions='reindex'", carry, call, tau=middle(llava))
    finally:
        config._attn_implementation = "sdpa"
