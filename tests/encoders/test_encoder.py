"""An encoder gives what its tower gives at the layer, for every family, and runs nothing more."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from diysink.architectures import ENCODERS, REFUSED_ENCODERS, UnsupportedModelError
from diysink.architectures.hooks import eager_attention, on_layer
from diysink.encoders import Encoder, load_encoder
from diysink.encoders import attention as attention_module
from tests.encoders.towers import BLOCKS, DIM, MAKERS, PATCH, PATCHES, SIDE, WHOLE, make

LAYERS = (1, 2, -2, -1)
# Tokens before the patches, where it is not one class token.
PREFIX = {"siglip": 0, "siglip2": 0, "aimv2": 0, "ijepa": 0, "deit": 2, "pixio": 8, "radio": 10}
PREFIX |= {"dinov2_with_registers": 5, "dinov3": 5}


@pytest.fixture
def pixels():
    return torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))


def reference(model, pixels, attention="eager"):
    """Hidden states and attention of transformers itself, all tokens."""
    model.set_attn_implementation(attention)
    asked = {"output_hidden_states": True, "output_attentions": attention == "eager"}
    if type(model).__name__ == "Siglip2VisionModel":
        side = SIDE // PATCH
        cut = pixels.reshape(-1, 3, side, PATCH, side, PATCH).permute(0, 2, 4, 3, 5, 1)
        asked |= {
            "pixel_attention_mask": torch.ones(len(pixels), PATCHES, dtype=torch.long),
            "spatial_shapes": torch.tensor([[side, side]] * len(pixels)),
        }
        pixels = cut.reshape(len(pixels), PATCHES, -1)
    if type(model).__name__ == "ViTMAEModel":  # nothing masked, nothing shuffled
        model.config.mask_ratio = 0.0
        asked["noise"] = torch.arange(PATCHES).expand(len(pixels), -1)
    with torch.no_grad():
        output = model(pixels, **asked)
    return output.hidden_states, output.attentions


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("family", MAKERS)
def test_states_are_those_of_the_tower_to_the_last_bit(family, dtype, pixels):
    pixels = pixels.to(dtype)
    hidden, _ = reference(make(family).to(dtype), pixels, "sdpa")
    assert len(hidden) == BLOCKS + 1
    for layer in range(BLOCKS + 1):
        encoder = Encoder.of(make(family).to(dtype), layer)
        with torch.no_grad():
            assert torch.equal(encoder(pixels), hidden[layer][:, PREFIX.get(family, 1) :])
            if layer:
                assert torch.equal(encoder.observe(pixels).hidden, encoder(pixels))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("family", MAKERS)
def test_states_and_attention_are_those_of_the_tower(family, layer, pixels):
    hidden, attentions = reference(make(family), pixels)
    prefix = PREFIX.get(family, 1)
    with torch.no_grad():
        seen = Encoder.of(make(family), layer).observe(pixels)
    torch.testing.assert_close(seen.hidden, hidden[layer][:, prefix:], atol=1e-4, rtol=1e-5)
    index = layer % (BLOCKS + 1) - 1
    received = attentions[index].mean(dim=(1, 2))
    torch.testing.assert_close(seen.attention, received[:, prefix:], atol=1e-6, rtol=1e-5)
    assert seen.hidden.shape == (3, PATCHES, DIM)
    assert seen.tokens == PATCHES + prefix
    # The comparison means something only where tokens do not all receive the same.
    assert seen.attention.std() / seen.attention.mean() > 0.05


@torch.no_grad()
@pytest.mark.parametrize("family", MAKERS)
def test_analyses_see_every_block(family, pixels):
    hidden, attentions = reference(make(family), pixels)
    model, layers = make(family), []
    encoder = Encoder.of(model, -1)
    with (
        eager_attention(model),
        on_layer(encoder.blocks, ENCODERS[family].attention, layers.append),
    ):
        encoder(pixels)
    assert len(layers) == BLOCKS
    for layer, states, attention in zip(layers, hidden, attentions, strict=False):
        assert torch.equal(layer.states, states)
        assert torch.equal(layer.attention, attention)
        assert layer.values.shape == (*attention.shape[:3], DIM // 4)
        assert layer.output.shape == (DIM, DIM)


@pytest.mark.parametrize("family", MAKERS)
def test_the_state_before_the_first_block(family, pixels):
    hidden, _ = reference(make(family), pixels)
    encoder = Encoder.of(make(family), 0)
    with torch.no_grad():
        torch.testing.assert_close(encoder(pixels), hidden[0][:, encoder.prefix :])
    with pytest.raises(ValueError, match="layer 0, where no block has run"):
        encoder.observe(pixels)


@pytest.mark.parametrize("family", MAKERS)
def test_attention_in_chunks_is_the_same(family, pixels, monkeypatch):
    encoder = Encoder.of(make(family))
    with torch.no_grad():
        whole = encoder.observe(pixels).attention
        monkeypatch.setattr(attention_module, "BUDGET", 1)
        torch.testing.assert_close(encoder.observe(pixels).attention, whole)


def test_all_tokens_share_all_attention(pixels):
    with torch.no_grad():
        received = Encoder.of(make("siglip")).observe(pixels).attention
    torch.testing.assert_close(received.sum(1), torch.ones(3))


@pytest.mark.parametrize("family", MAKERS)
def test_no_later_block_runs(family, pixels):
    model = make(family)
    before = Encoder.of(model, -2)(pixels)
    with torch.no_grad():
        last = list(model.modules())
        blocks = next(m for m in last if isinstance(m, nn.ModuleList) and len(m) == BLOCKS)
        for weight in blocks[-1].parameters():
            weight.fill_(torch.nan)
    torch.testing.assert_close(Encoder.of(model, -2)(pixels), before)
    assert Encoder.of(model, -1)(pixels).isnan().all()
    assert len(Encoder.of(model, -2).blocks) == BLOCKS - 1


@torch.no_grad()
@pytest.mark.parametrize("family", MAKERS)
def test_a_saved_tower_loads_equal(family, towers, pixels):
    loaded, kept = load_encoder(towers[family]), Encoder.of(make(family))
    assert torch.equal(loaded(pixels), kept(pixels))
    assert loaded.identity.digest == kept.identity.digest
    assert (loaded.identity.name, loaded.identity.family) == (family, family)
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())


@torch.no_grad()
@pytest.mark.parametrize("family", WHOLE)
def test_a_tower_comes_out_of_a_whole_model(family, tmp_path, pixels):
    whole = make(family, whole=True)
    whole.save_pretrained(tmp_path)
    loaded, kept = load_encoder(tmp_path), Encoder.of(whole)
    assert torch.equal(loaded(pixels), kept(pixels))
    assert loaded.identity.digest == kept.identity.digest


def test_the_digest_is_of_what_runs():
    model = make("clip")
    identity = Encoder.of(model, -2).identity
    assert identity.layer == BLOCKS - 1
    assert identity == Encoder.of(model, BLOCKS - 1).identity
    assert identity.digest == Encoder.of(make("clip").to(torch.bfloat16), -2).identity.digest
    assert identity.digest != Encoder.of(model, -1).identity.digest
    with torch.no_grad():
        model.encoder.layers[-1].mlp.fc1.weight.add_(1)  # never runs at layer -2
        model.post_layernorm.weight.add_(1)
    assert identity == Encoder.of(model, -2).identity
    with torch.no_grad():
        model.encoder.layers[-2].mlp.fc1.weight[0, 0] += 1
    assert identity.digest != Encoder.of(model, -2).identity.digest


def test_grid_and_images_of_another_size(pixels):
    assert Encoder.of(make("clip")).grid(pixels) == (3, 3)
    with pytest.raises(ValueError, match="takes images of 24 x 24 pixels; these have 32 x 24"):
        Encoder.of(make("clip"))(torch.zeros(1, 3, 32, 24))
    dino = Encoder.of(make("dinov2"))
    wide = torch.zeros(1, 3, 16, 40)
    assert dino.grid(wide) == (2, 5)
    assert dino(wide).shape == (1, 10, DIM)
    with pytest.raises(ValueError, match="smaller than one patch"):
        dino(torch.zeros(1, 3, 4, 24))


@pytest.mark.parametrize("layer", [BLOCKS + 1, -BLOCKS - 2])
def test_no_such_layer(layer):
    with pytest.raises(ValueError, match=f"layer is {layer}, but .* has {BLOCKS} blocks"):
        Encoder.of(make("clip"), layer)


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"model_type .bert..*clip, .*dinov2.*vit"):
        load_encoder(tmp_path)
    assert {name for name, row in ENCODERS.items() if row.architecture} == set(MAKERS)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("timm_wrapper", "a model of timm"),  # timm is not installed, and need not be
        ("swin", "merged from stage to stage"),
        ("blip_vision_model", "by itself"),
        ("pixtral", "only occurs inside a vision-language model"),
    ],
)
def test_why_an_architecture_is_refused(kind, reason, tmp_path):
    (tmp_path / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    with pytest.raises(UnsupportedModelError, match=f"{kind}.*{reason}"):
        load_encoder(tmp_path)
    assert not REFUSED_ENCODERS.keys() & {k for row in ENCODERS.values() for k in row.model_types}


def test_missing_weights_are_refused(tmp_path):
    from safetensors.torch import save_file

    make("clip").save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layers.0.mlp.fc1.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 weights.*encoder.layers.0.mlp.fc1.weight"):
        load_encoder(tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    model = make("clip")
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("source", ["/no/such/folder", "./nowhere", "a/b/c"])
def test_a_folder_that_is_not_there(source):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .* or a hub id"):
        load_encoder(source)
