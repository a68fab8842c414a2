"""The model against stock LLaVA: exact where nothing is chosen, defined where something is."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from diysink.model import DIYSinkConfig, DIYSinkForConditionalGeneration
from diysink.selection import Choice, Route
from tests.tiny_models import assemble_tiny

TOKENS = 9


def build(parts, connector="single", arrangement="natural", tau=None):
    made = assemble_tiny(parts, connector=connector, arrangement=arrangement)
    made.model.config.tau = tau
    made.model.eval()
    return made


def tie(model, single):
    """Both parts of a dual connector get the single connector's weights."""
    weights = single.model.multi_modal_projector.state_dict()
    model.model.multi_modal_projector.sink.load_state_dict(weights)
    model.model.multi_modal_projector.nonsink.load_state_dict(weights)
    return model


def middle_tau(model, pixels):
    """A threshold that makes about a third of the tokens sinks."""
    norms = model.model.visual_states(pixels).detach().norm(dim=-1)
    return float(norms.quantile(0.65))


def spliced(model, input_ids, attention_mask, pixel_values, **options):
    visual = model.model.see(pixel_values)
    return model.model.splice(input_ids, attention_mask, visual, **options)


@pytest.fixture
def inputs(tokenizer):
    """Two prompts of different lengths with one image each, padded on the right."""
    torch.manual_seed(1)
    texts = ["USER: " + "<image> " * TOKENS + tail for tail in ("a b c ASSISTANT:", "d ASSISTANT:")]
    batch = tokenizer(texts, padding=True, return_tensors="pt", padding_side="right")
    return {
        "input_ids": batch["input_ids"],
        "attention_mask": batch["attention_mask"],
        "pixel_values": torch.randn(2, 3, 12, 12),
    }


@pytest.fixture
def stock(parts):
    """A stock LLaVA of the same parts and the same projector, and ours."""
    ours = build(parts).model
    config = LlavaConfig(
        vision_config=ours.config.vision_config,
        text_config=ours.config.text_config,
        image_token_index=ours.config.image_token_id,
        image_seq_length=TOKENS,
        vision_feature_select_strategy=ours.config.vision_feature_select_strategy,
    )
    llava = LlavaForConditionalGeneration(config).eval()
    weights = ours.state_dict()
    bias = weights.pop("lm_head.bias", None)  # Phi's; stock LLaVA has no place for it
    assert bias is None or not bias.any()
    llava.load_state_dict(weights)
    return llava, ours


def true_logits(logits, mask):
    return logits[mask.bool()]


def test_nothing_chosen_is_stock_llava_to_the_bit(stock, inputs):
    llava, ours = stock
    expected, got = llava(**inputs).logits, ours(**inputs).logits
    mask = inputs["attention_mask"]
    assert torch.equal(true_logits(got, mask), true_logits(expected, mask))


def test_an_encoder_without_class_token_keeps_its_first_patch(parts, inputs):
    ours = build(parts).model
    hidden = ours.model.vision_tower(inputs["pixel_values"], output_hidden_states=True)
    expected = hidden.hidden_states[-2]
    states = ours.model.visual_states(inputs["pixel_values"])
    assert states.shape[1] == TOKENS
    assert torch.equal(states, expected[:, expected.shape[1] - TOKENS :])


@pytest.mark.parametrize("tau", [None, "middle", 0.0])
def test_tied_dual_in_natural_order_at_weight_one_is_stock_to_the_bit(stock, parts, inputs, tau):
    llava, single = stock
    dual = tie(build(parts, "dual").model, single)
    pixels = inputs["pixel_values"]
    dual.config.tau = middle_tau(dual, pixels) if tau == "middle" else tau
    got = dual(**inputs, choice=Choice(torch.ones(2, 2), (Route.BOTH,) * 2)).logits
    mask = inputs["attention_mask"]
    assert torch.equal(true_logits(got, mask), true_logits(llava(**inputs).logits, mask))


def test_the_loss_is_stock_llavas(stock, inputs):
    llava, ours = stock
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    assert torch.equal(llava(**inputs, labels=labels).loss, ours(**inputs, labels=labels).loss)


def test_dropping_is_masking(parts, inputs):
    """Compacted sequences = the full ones with the dropped tokens masked, positions kept tight."""
    model = build(parts, "dual", "natural").model
    model.config.tau = middle_tau(model, inputs["pixel_values"])
    choice = Choice.of(["sink", "nonsink"])
    got = spliced(model, **inputs, choice=choice)
    logits = model(**inputs, choice=choice).logits
    full = spliced(model, **inputs)
    keep = full.mask.bool() & ~(full.visual & torch.stack([~full.sinks[0], full.sinks[1]]))
    positions = (keep.long().cumsum(1) - 1).clamp(min=0)
    length = keep.shape[1]
    causal = torch.tril(torch.ones(length, length, dtype=torch.bool))
    allowed = (causal & keep[:, None, :])[:, None] | torch.eye(length, dtype=torch.bool)
    bias = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    masked = model(inputs_embeds=full.embeds, attention_mask=bias, position_ids=positions).logits
    torch.testing.assert_close(masked[keep], logits[got.mask.bool()], atol=1e-6, rtol=1e-5)


def test_a_batch_is_its_items_one_by_one(parts, inputs):
    model = build(parts, "dual", "front").model
    model.config.tau = middle_tau(model, inputs["pixel_values"])
    choice = Choice(torch.tensor([[1.0, 0.5], [2.0, 1.0]]), (Route.SINK, Route.BOTH))
    together = model(**inputs, choice=choice).logits
    mask = spliced(model, **inputs, choice=choice).mask.bool()
    for i in range(2):
        true = inputs["attention_mask"][i].bool()
        alone = model(
            input_ids=inputs["input_ids"][i : i + 1, true],
            attention_mask=inputs["attention_mask"][i : i + 1, true],
            pixel_values=inputs["pixel_values"][i : i + 1],
            choice=Choice(choice.weights[i : i + 1], choice.routes[i : i + 1]),
        ).logits[0]
        torch.testing.assert_close(together[i, mask[i]], alone, atol=1e-5, rtol=1e-5)


def test_without_sinks_every_route_and_arrangement_is_the_same(parts, inputs):
    model = build(parts, "dual", "front", tau=1e9).model
    expected = model(**inputs, choice=Choice.of(["both"] * 2)).logits
    for routes in (["sink", "sink"], ["nonsink", "nonsink"]):
        assert torch.equal(model(**inputs, choice=Choice.of(routes)).logits, expected)


def test_reordering_changes_nothing_if_every_token_sees_every_other(parts, inputs):
    """Under a full mask and with positions carried along, order is only a name (paper, sec. 4)."""
    model = build(parts, "single", "natural").model
    model.config.tau = middle_tau(model, inputs["pixel_values"])
    plain = spliced(model, **inputs)
    model.config.arrangement = "front"
    moved = spliced(model, **inputs)
    full = plain.mask.bool()[:, None, None, :].expand(-1, 1, plain.mask.shape[1], -1)
    bias = torch.zeros(full.shape).masked_fill(~full, torch.finfo(torch.float32).min)

    def logits(batch):
        return model(
            inputs_embeds=batch.embeds, attention_mask=bias, position_ids=batch.source
        ).logits

    expected = logits(plain).gather(
        1, moved.source[..., None].expand(-1, -1, len(model.lm_head.weight))
    )
    true = plain.mask.bool()
    assert not torch.equal(plain.source, moved.source)
    torch.testing.assert_close(logits(moved)[true], expected[true], atol=1e-6, rtol=1e-5)


def test_generate_answers_as_without_cache_and_gives_the_prompt_back(parts, tokenizer, inputs):
    model = build(parts, "dual", "front").model
    model.config.tau = middle_tau(model, inputs["pixel_values"])
    choice = Choice.of(["sink", "both"])
    left = tokenizer.pad(
        {"input_ids": [ids[m.bool()].tolist() for ids, m in
                       zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]},
        padding_side="left", return_tensors="pt",
    )  # fmt: skip
    batch = {**left, "pixel_values": inputs["pixel_values"]}
    options = {"max_new_tokens": 5, "do_sample": False, "selection": choice, "eos_token_id": None}
    cached = model.generate(**batch, **options, use_cache=True)
    assert torch.equal(cached, model.generate(**batch, **options, use_cache=False))
    assert torch.equal(cached[:, : left["input_ids"].shape[1]], left["input_ids"])
    # Token by token, from the logits of the forward alone.
    prompt = spliced(model, **batch, choice=choice, padding_side="left")
    embeds, mask = prompt.embeds, prompt.mask
    for step in range(5):
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = model(inputs_embeds=embeds, attention_mask=mask, position_ids=positions).logits
        token = logits[:, -1].argmax(-1)
        assert torch.equal(token, cached[:, left["input_ids"].shape[1] + step])
        embeds = torch.cat([embeds, model.get_input_embeddings()(token)[:, None]], 1)
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)


def test_beam_search_and_several_sequences(parts, inputs):
    model = build(parts, "dual", "front").model
    out = model.generate(
        **inputs, choice=Choice.of(["sink", "both"]), num_beams=3, num_return_sequences=2,
        max_new_tokens=3, do_sample=False, eos_token_id=None,
    )  # fmt: skip
    assert out.shape == (4, inputs["input_ids"].shape[1] + 3)


def test_saved_and_loaded_it_is_the_same_to_the_bit(parts, inputs, tmp_path):
    made = build(parts, "dual", "front")
    made.model.config.tau = middle_tau(made.model, inputs["pixel_values"])
    made.save(tmp_path)
    assert not list(tmp_path.glob("*.bin"))
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert isinstance(loaded, DIYSinkForConditionalGeneration)
    assert AutoConfig.from_pretrained(tmp_path).tau == made.model.config.tau
    assert torch.equal(loaded(**inputs).logits, made.model(**inputs).logits)


def test_a_relative_tau_goes_by_each_image_and_is_saved(parts, inputs, tmp_path):
    made = build(parts, "dual", "front", tau=1.02)
    made.model.config.tau_relative = True
    states = made.model.model.visual_states(inputs["pixel_values"]).detach()
    states = states * torch.linspace(1, 50, len(states))[:, None, None]  # images of other scales
    norms = states.norm(dim=-1)
    odd = norms.shape[1] % 2 == 1
    assert odd  # so that torch's median is that of the definition
    expected = norms >= 1.02 * norms.median(dim=1, keepdim=True).values
    mask = made.model.model.sink_mask(states)
    assert torch.equal(mask, expected)
    assert mask.any(1).all()
    assert not mask.all(1).any()
    made.save(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded.model.sink_mask(states), expected)
    assert torch.equal(loaded(**inputs).logits, made.model(**inputs).logits)


def test_text_alone_is_the_language_model(stock, tokenizer):
    llava, ours = stock
    ids = tokenizer("USER: a b ASSISTANT:", return_tensors="pt")["input_ids"]
    assert torch.equal(ours(input_ids=ids).logits, llava(input_ids=ids).logits)
    assert ours.generate(input_ids=ids, max_new_tokens=2, eos_token_id=None).shape[1] == 6


def test_bf16_runs_and_its_mask_is_made_in_fp32(parts, inputs):
    model = build(parts, "dual", "front").model.to(torch.bfloat16)
    states = model.model.visual_states(inputs["pixel_values"].bfloat16())
    states = states.detach()
    model.config.tau = float(states.float().norm(dim=-1).median())
    mask = model.model.sink_mask(states)
    assert torch.equal(mask, states.float().norm(dim=-1) >= model.config.tau)
    pixels = inputs["pixel_values"].bfloat16()
    assert model(**{**inputs, "pixel_values": pixels}).logits.isfinite().all()


def test_images_without_a_prompt_are_refused(parts, inputs):
    with pytest.raises(ValueError, match="pixel_values need input_ids"):
        build(parts).model(pixel_values=inputs["pixel_values"])


def test_the_configuration_refuses_what_it_does_not_know():
    with pytest.raises(StrictDataclassError, match="arrangement"):
        DIYSinkConfig(arrangement="sideways")
    with pytest.raises(StrictDataclassError, match="connector"):
        DIYSinkConfig(connector="triple")
