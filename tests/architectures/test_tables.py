"""The tables: one row adds an encoder or a model, and what is not in them is refused by name."""

import pytest
import torch
from transformers import ViTMSNConfig, ViTMSNModel

from diysink.architectures import (
    ENCODERS,
    LVLMS,
    EncoderFamily,
    LVLMFamily,
    UnsupportedInterventionError,
    UnsupportedModelError,
    encoder_family,
    lvlm_family,
)
from diysink.architectures.patches import packed
from diysink.encoders import Encoder
from diysink.interventions import Drop, intervene, visual_norms
from tests.encoders.towers import MAKERS
from tests.interventions.tiny_parts import (
    IMAGE,
    TEXT,
    VISION,
    framed,
    make,
    prompts,
    spread,
)


def test_one_row_adds_an_encoder(monkeypatch):
    """MSN, a plain ViT."""
    row = EncoderFamily(
        model_types=("vit_msn",),
        architecture="ViTMSNModel",
        blocks="layers",
        attention="attention",
        prefix=lambda config: 1,
    )
    monkeypatch.setitem(ENCODERS, "vit_msn", row)
    config = ViTMSNConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=16,
        patch_size=4,
        attn_implementation="eager",
    )
    model = ViTMSNModel(config).eval()
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        seen = Encoder.of(model, -2).observe(pixels)
        whole = model(pixels, output_hidden_states=True, output_attentions=True)
    torch.testing.assert_close(seen.hidden, whole.hidden_states[-2][:, 1:])
    received = whole.attentions[-2].mean((1, 2))[:, 1:]
    torch.testing.assert_close(seen.attention, received)


def test_one_row_adds_a_vision_language_model(monkeypatch):
    """LightOnOCR, whose tokens are made like Mistral 3's."""
    row = LVLMFamily(
        read=packed.mistral3,
        mapping="group-wise",
        note="a square of patches side by side",
        tower="vision_encoder",
    )
    monkeypatch.setitem(LVLMS, "lighton_ocr", row)
    torch.manual_seed(0)
    vision = VISION | {"model_type": "pixtral", "head_dim": 8, "hidden_size": 16}
    text = TEXT | {"model_type": "qwen3"}
    model = make("lighton_ocr", vision_config=vision, text_config=text, image_token_id=IMAGE)
    tokens = [6, 2, 4]
    inputs = prompts(*[framed(count) for count in tokens])
    inputs |= {"pixel_values": torch.randn(3, 3, 16, 24)}
    inputs |= {"image_sizes": torch.tensor([[16, 24], [16, 8], [16, 16]])}
    spread(model.eval())
    norms = visual_norms(model, **inputs)
    assert [len(one) for one in norms] == tokens
    with torch.no_grad():
        stock = model(**inputs).logits
        with intervene(model, Drop("sink"), tau=float(torch.cat(norms).median())):
            dropped = model(**inputs).logits
    assert dropped.shape == stock.shape
    assert not torch.allclose(dropped, stock, atol=1e-3)


def test_an_unknown_architecture_is_refused_with_the_names_of_the_known_ones():
    with pytest.raises(UnsupportedModelError, match="siglip2_vision_model"):
        encoder_family("bert")
    with pytest.raises(UnsupportedModelError, match="qwen2_5_vl"):
        lvlm_family("bert")
    with pytest.raises(UnsupportedModelError):  # it only runs inside a vision-language model
        encoder_family("pixtral", alone=True)
    assert encoder_family("pixtral") == "pixtral"
    assert issubclass(UnsupportedInterventionError, UnsupportedModelError)


def test_rows_are_complete():
    kinds = [kind for row in ENCODERS.values() for kind in row.model_types]
    assert len(kinds) == len(set(kinds))
    assert {name for name, row in ENCODERS.items() if row.architecture} == set(MAKERS)
    assert all(row.note and row.mapping in ("exact", "group-wise") for row in LVLMS.values())
