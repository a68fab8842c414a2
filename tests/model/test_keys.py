"""Gated keys: just the visual tokens' keys, just by their weights, and no hook left behind."""

import math

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    Phi3Config,
    Phi3Model,
    PhiConfig,
    PhiModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from diysink.model.keys import gated_keys, last_prompt_token, scaled
from diysink.selection import (
    Choice,
    ConstantGates,
    LayerGates,
    LayerGatesSettings,
    Route,
)
from tests.tiny_models import assemble_tiny

LENGTH, DIM = 9, 16
SIZES = {
    "hidden_size": DIM, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 8, "pad_token_id": 0, "max_position_embeddings": 64,
}  # fmt: skip
KINDS = {
    "llama": lambda: LlamaModel(LlamaConfig(**SIZES)),
    "qwen2": lambda: Qwen2Model(Qwen2Config(**SIZES)),
    "phi": lambda: PhiModel(PhiConfig(**SIZES)),
    "phi with normed keys": lambda: PhiModel(PhiConfig(**SIZES, qk_layernorm=True)),
    "qwen3": lambda: Qwen3Model(Qwen3Config(**SIZES, head_dim=4)),
}
WEIGHTS = torch.tensor([[0.5, 2.0], [3.0, 0.25]])


@pytest.fixture(scope="module", params=KINDS)
def language_model(request):
    torch.manual_seed(0)
    model = KINDS[request.param]().eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "bias" in name:  # stock models start them at zero, where a forgotten bias hides
            torch.nn.init.normal_(parameter)
    return model


@pytest.fixture(scope="module")
def places():
    """Two items: which tokens are sinks, which visual; the second is shorter by two."""
    visual, sinks = torch.zeros(2, 2, LENGTH, dtype=torch.bool)
    visual[0, 1:6] = visual[1, 3:7] = True
    sinks[0, [2, 4]] = sinks[1, 3] = True
    return sinks, visual


@pytest.fixture(scope="module")
def inputs():
    """Padded on the left: the second item's first two places are no tokens."""
    torch.manual_seed(1)
    mask = torch.ones(2, LENGTH, dtype=torch.long)
    mask[1, :2] = 0
    return {
        "inputs_embeds": torch.randn(2, LENGTH, DIM),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
    }


LAST = torch.tensor([LENGTH - 1, LENGTH - 1])


def gate(model, places, weights=WEIGHTS, layers=None, last=LAST):
    return gated_keys(model, ConstantGates(weights, layers), *places, last)


def states(model, inputs):
    return model(**inputs).last_hidden_state


@pytest.fixture
def spy(monkeypatch):
    """Query, key and value of every attention, as the attention itself gets them."""
    seen, sdpa = [], ALL_ATTENTION_FUNCTIONS["sdpa"]

    def spying(module, query, key, value, *args, **kwargs):
        seen.append((query, key, value))
        return sdpa(module, query, key, value, *args, **kwargs)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", spying)
    return seen


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_gates_at_one_change_not_a_bit(language_model, places, inputs, attention):
    language_model.set_attn_implementation(attention)
    stock = states(language_model, inputs)
    with gate(language_model, places, torch.ones(2, 2)):
        assert torch.equal(states(language_model, inputs), stock)
    language_model.set_attn_implementation("sdpa")


def test_exactly_the_visual_keys_are_scaled_by_exactly_their_weights(
    language_model, places, inputs, spy
):
    """Of the rotated (and normed) keys that attention gets, so that its logits scale as well."""
    states(language_model, inputs)
    with gate(language_model, places, layers=(0,)):
        states(language_model, inputs)
    stock, gated = spy[0], spy[3]
    factors = torch.ones(2, LENGTH)
    factors[0, 1:6], factors[1, 3:7] = 2.0, 0.25
    factors[0, [2, 4]], factors[1, 3] = 0.5, 3.0
    torch.testing.assert_close(gated[1], stock[1] * factors[:, None, :, None])
    assert torch.equal(gated[0], stock[0])
    assert torch.equal(gated[2], stock[2])


def test_only_the_chosen_layers_are_gated(language_model, places, inputs, spy):
    states(language_model, inputs)
    with gate(language_model, places, layers=(1,)):
        states(language_model, inputs)
    assert torch.equal(spy[0][1], spy[3][1])
    assert not torch.allclose(spy[1][1], spy[4][1])


def test_no_layers_named_is_all_of_them(language_model, places, inputs):
    with gate(language_model, places):
        every = states(language_model, inputs)
    with gate(language_model, places, layers=(0, 1, 2)):
        assert torch.equal(states(language_model, inputs), every)
    with gate(language_model, places, layers=(0, 1)):
        assert not torch.allclose(states(language_model, inputs), every)


def test_by_hand():
    """One layer, one head, all projections the identity, all at position 0: plain softmax(q k / 2).

    The last token's products with text, sink, other visual token and itself are 4, 2, 2, 4.
    """
    model = LlamaModel(
        LlamaConfig(
            hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_attention_heads=1,
            num_key_value_heads=1, vocab_size=2, rms_norm_eps=0.0, attn_implementation="eager",
        )
    ).eval()  # fmt: skip
    attention = model.layers[0].self_attn
    for part in (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj):
        torch.nn.init.eye_(part.weight)
    embeds = torch.tensor([[[1.0, 1, 1, 1], [1, 1, 1, -1], [1, 1, -1, 1], [1, 1, 1, 1]]])
    inputs = {
        "inputs_embeds": embeds,
        "attention_mask": torch.ones(1, 4, dtype=torch.long),
        "position_ids": torch.zeros(1, 4, dtype=torch.long),
    }
    sinks = torch.tensor([[False, True, False, False]])
    visual = torch.tensor([[False, True, True, False]])

    def attends():
        return model(**inputs, output_attentions=True).attentions[0][0, 0, -1]

    e = math.exp
    expected = torch.tensor([e(2), e(1), e(1), e(2)]) / (2 * e(2) + 2 * e(1))
    torch.testing.assert_close(attends(), expected)
    gates = ConstantGates(torch.tensor([[0.5, 2.0]]))
    with gated_keys(model, gates, sinks, visual, torch.tensor([3])):
        expected = torch.tensor([e(2), e(0.5), e(2), e(2)]) / (3 * e(2) + e(0.5))
        torch.testing.assert_close(attends(), expected)


def test_items_do_not_leak_into_each_other(language_model, places, inputs):
    with gate(language_model, places):
        together = states(language_model, inputs)
    for i in range(2):
        one = {name: value[i : i + 1] for name, value in inputs.items()}
        sinks, visual = (place[i : i + 1] for place in places)
        with gate(language_model, (sinks, visual), WEIGHTS[i : i + 1], last=LAST[:1]):
            alone = states(language_model, one)
        true = inputs["attention_mask"][i].bool()
        torch.testing.assert_close(together[i, true], alone[0, true], atol=1e-5, rtol=1e-4)
    other = torch.stack([WEIGHTS[0], torch.ones(2)])
    with gate(language_model, places, other):
        changed = states(language_model, inputs)
    assert torch.equal(changed[0], together[0])
    assert not torch.allclose(changed[1], together[1])


def test_rows_of_an_item_that_is_repeated_all_get_its_weights(language_model, places, inputs):
    """As beam search does."""
    with gate(language_model, places):
        once = states(language_model, inputs)
        thrice = states(
            language_model, {name: v.repeat_interleave(3, 0) for name, v in inputs.items()}
        )
    torch.testing.assert_close(thrice, once.repeat_interleave(3, 0), atol=1e-5, rtol=1e-4)
    with (
        gate(language_model, places),
        pytest.raises(ValueError, match="3 sequences for the gates of 2 prompts"),
    ):
        states(language_model, {name: v[[0, 0, 1]] for name, v in inputs.items()})


def test_later_steps_are_not_gated_but_see_gated_keys(language_model, places, inputs, spy):
    torch.manual_seed(2)
    more = torch.randn(2, 2, DIM)
    longer = {
        "inputs_embeds": torch.cat([inputs["inputs_embeds"], more], 1),
        "attention_mask": torch.nn.functional.pad(inputs["attention_mask"], (0, 2), value=1),
    }
    longer["position_ids"] = (longer["attention_mask"].cumsum(1) - 1).clamp(min=0)
    with gate(language_model, places):
        whole = states(language_model, longer)
        cache = language_model(**inputs, use_cache=True).past_key_values
        steps = [
            language_model(
                inputs_embeds=more[:, i : i + 1],
                attention_mask=longer["attention_mask"][:, : LENGTH + i + 1],
                position_ids=longer["position_ids"][:, LENGTH + i : LENGTH + i + 1],
                past_key_values=cache,
            ).last_hidden_state
            for i in range(2)
        ]
    torch.testing.assert_close(torch.cat(steps, 1), whole[:, LENGTH:], atol=1e-5, rtol=1e-4)


def test_a_prompt_in_pieces_is_refused(language_model, places, inputs):
    pieces = {name: value[:, :4] for name, value in inputs.items()}
    with gate(language_model, places), pytest.raises(ValueError, match="read in one piece"):
        language_model(**pieces)
    begun = language_model(**pieces, use_cache=True).past_key_values
    rest = {name: value[:, 4:] for name, value in inputs.items()}
    rest["attention_mask"] = inputs["attention_mask"]
    with gate(language_model, places), pytest.raises(ValueError, match="after 4 cached ones"):
        language_model(**rest, past_key_values=begun)


def test_hooks_are_gone_afterwards_also_after_an_error(language_model, places, inputs):
    stock, before = states(language_model, inputs), hooks(language_model)
    with gate(language_model, places):
        assert hooks(language_model) == before + 6
        assert not torch.allclose(states(language_model, inputs), stock)
    assert hooks(language_model) == before
    assert torch.equal(states(language_model, inputs), stock)
    with pytest.raises(RuntimeError, match="anything"), gate(language_model, places):
        raise RuntimeError("anything")
    assert hooks(language_model) == before
    with (
        pytest.raises(ValueError, match="gates on layers"),
        gate(language_model, places, layers=(0, 3)),
    ):
        pass
    assert hooks(language_model) == before


@pytest.fixture
def learning():
    torch.manual_seed(3)
    gates = LayerGates(LayerGatesSettings(DIM, (0, 2), hidden=4))
    for parameter in gates.parameters():
        torch.nn.init.normal_(parameter)
    return gates


def test_under_checkpointing_gradients_are_the_same(language_model, places, inputs, learning):
    """The backward pass computes layers again, when the context has ended."""

    def gradients(checkpointing):
        if checkpointing:
            language_model.train().activation_checkpointing_enable()
        learning.zero_grad()
        with gated_keys(language_model, learning, *places, LAST):
            loss = states(language_model, {**inputs, "use_cache": False}).square().mean()
        before = hooks(language_model)
        loss.backward()
        assert hooks(language_model) == before
        language_model.activation_checkpointing_disable()
        language_model.eval()
        return [parameter.grad.clone() for parameter in learning.parameters()]

    for plain, again in zip(gradients(False), gradients(True), strict=True):
        assert plain.any()
        torch.testing.assert_close(again, plain, atol=1e-7, rtol=1e-5)


def test_gates_see_the_state_that_enters_their_layer(language_model, places, inputs):
    told = {}

    class Listening:
        layers = (0, 2)

        def __call__(self, layer, last):
            told[layer] = last
            return torch.ones(len(last), 2)

    last = torch.tensor([5, 8])
    with gated_keys(language_model, Listening(), *places, last):
        hidden = language_model(**inputs, output_hidden_states=True).hidden_states
    for layer in (0, 2):
        assert torch.equal(told[layer], hidden[layer][torch.arange(2), last])


def test_bf16_models_take_fp32_gates(places, inputs, learning):
    model = KINDS["llama"]().eval().to(torch.bfloat16)
    half = {**inputs, "inputs_embeds": inputs["inputs_embeds"].bfloat16()}
    stock = states(model, half)
    assert stock.dtype == torch.bfloat16
    with gate(model, places, torch.ones(2, 2)):
        assert torch.equal(states(model, half), stock)
    with gated_keys(model, learning, *places, LAST):
        assert states(model, half).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        (lambda: GPT2Model(GPT2Config(n_layer=1, n_head=2, n_embd=16)), "GPT2Model has no list"),
        (lambda: Phi3Model(Phi3Config(**SIZES)), "it has: o_proj, qkv_proj"),
    ],
)
def test_other_language_models_are_refused(places, model, missing):
    with pytest.raises(ValueError, match=missing), gate(model(), places):
        pass


def test_an_unknown_norm_of_keys_is_refused(places):
    """It might undo the gates, or not be told apart from what does not."""
    model = KINDS["llama"]()
    model.layers[1].self_attn.qk_norm = torch.nn.Identity()
    refused = pytest.raises(ValueError, match=r"layer 1 .* known norm; it has: .*qk_norm")
    with refused, gate(model, places):
        pass
    with gate(model, places, layers=(0, 2)):
        pass


def test_positions_that_cannot_be_told_from_heads_are_refused():
    with pytest.raises(ValueError, match="axis of the tokens cannot be told"):
        scaled(torch.zeros(2, 3, 3, 4), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("mask", "labels", "expected"),
    [
        ([1, 1, 1, 0], None, 2),  # padded on the right
        ([0, 0, 1, 1], None, 3),  # and on the left
        ([1, 1, 1, 1], [-100, -100, 5, 6], 1),  # before the first learnt token
        ([1, 1, 1, 1], [-100, 5, -100, 6], 0),  # of the first turn
        ([1, 1, 1, 0], [-100, -100, -100, -100], 2),  # nothing is learnt
        ([1, 1, 0, 0], [5, 6, -100, -100], 0),  # everything is
    ],
)
def test_last_prompt_token(mask, labels, expected):
    labels = None if labels is None else torch.tensor([labels])
    assert last_prompt_token(torch.tensor([mask]), labels).tolist() == [expected]


# --- In the whole model -------------------------------------------------------------------------

TOKENS = 9


@pytest.fixture(scope="module")
def model(parts):
    made = assemble_tiny(parts, connector="dual", arrangement="front").model.eval()
    torch.manual_seed(4)
    norms = made.model.visual_states(torch.randn(2, 3, 12, 12)).detach().norm(dim=-1)
    made.config.tau = float(norms.quantile(0.65))
    return made


def batch(tokenizer, texts, side):
    torch.manual_seed(5)
    coded = tokenizer(
        ["USER: " + "<image> " * TOKENS + text for text in texts],
        padding=True, return_tensors="pt", padding_side=side,
    )  # fmt: skip
    return {
        "input_ids": coded["input_ids"],
        "attention_mask": coded["attention_mask"],
        "pixel_values": torch.randn(2, 3, 12, 12),
    }


def at_keys(weights=WEIGHTS, routes=(Route.BOTH, Route.BOTH)):
    return Choice(torch.ones(2, 2), routes, ConstantGates(weights))


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_model_with_gates_at_one_is_the_model(model, tokenizer, attention):
    inputs = batch(tokenizer, ["a b c ASSISTANT:", "d ASSISTANT:"], "right")
    model.set_attn_implementation(attention)
    stock = model(**inputs).logits
    assert torch.equal(model(**inputs, choice=at_keys(torch.ones(2, 2))).logits, stock)
    assert not torch.allclose(model(**inputs, choice=at_keys()).logits, stock)
    assert torch.equal(model(**inputs).logits, stock)
    model.set_attn_implementation("sdpa")


@pytest.mark.parametrize("beams", [1, 3])
def test_generating_with_a_cache_is_generating_without(model, tokenizer, beams):
    inputs = batch(tokenizer, ["a b c ASSISTANT:", "d ASSISTANT:"], "left")
    options = {
        "max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "num_beams": beams,
        "return_dict_in_generate": True, "output_logits": True,
    }  # fmt: skip
    choice = at_keys(routes=(Route.BOTH, Route.NONSINK))
    cached, plain = (
        model.generate(**inputs, **options, selection=choice, use_cache=use)
        for use in (True, False)
    )
    assert torch.equal(cached.sequences, plain.sequences)
    for one, other in zip(cached.logits, plain.logits, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    stock = model.generate(**inputs, **options)
    assert not torch.allclose(stock.logits[0], cached.logits[0], atol=1e-4)


def test_a_gate_sees_the_prompt_and_not_the_answer(model, tokenizer):
    """The same state for any answer; and the very state that it will see when generating."""
    told = []

    class Listening:
        layers = (1,)

        def __call__(self, layer, last):
            told.append(last)
            return torch.ones(len(last), 2)

    choice = Choice(torch.ones(2, 2), (Route.BOTH,) * 2, Listening())

    def train(texts):
        inputs = batch(tokenizer, texts, "right")
        assistant = tokenizer.convert_tokens_to_ids("ASSISTANT:")
        after = (inputs["input_ids"] == assistant).cumsum(1) - (
            inputs["input_ids"] == assistant
        ).int()
        labels = inputs["input_ids"].masked_fill(
            (after == 0) | (inputs["attention_mask"] == 0), -100
        )
        model(**inputs, labels=labels, choice=choice)
        return told.pop()

    one = train(["a b c ASSISTANT: d </s>", "d ASSISTANT: e f </s>"])
    other = train(["a b c ASSISTANT: e e e </s>", "d ASSISTANT: a </s>"])
    assert torch.equal(one, other)
    asked = train(["a b b ASSISTANT: d </s>", "d ASSISTANT: e f </s>"])
    assert not torch.allclose(one[0], asked[0])
    assert torch.equal(one[1], asked[1])
    inputs = batch(tokenizer, ["a b c ASSISTANT:", "d ASSISTANT:"], "left")
    model.generate(**inputs, selection=choice, max_new_tokens=1)
    torch.testing.assert_close(told.pop(), one, atol=1e-6, rtol=1e-5)
