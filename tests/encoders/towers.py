"""Tiny random vision towers of every family, alone and as parts of whole models."""

import pytest
import torch
from transformers import (
    BitImageProcessorPil,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipImageProcessorPil,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

SIDE, PATCH, BLOCKS, DIM, PATCHES = 24, 8, 4, 32, 9
_TOWER = {
    "hidden_size": DIM,
    "intermediate_size": 48,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "patch_size": PATCH,
}
_SIZED = _TOWER | {"image_size": SIDE}
_TEXT = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "vocab_size": 16,
    "eos_token_id": 2,
}

MAKERS = {
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**_SIZED)),
    "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**_SIZED)),
    "siglip2": lambda: Siglip2VisionModel(Siglip2VisionConfig(**_TOWER, num_patches=PATCHES)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**_SIZED)),
    "dinov2_with_registers": lambda: Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(**_SIZED, num_register_tokens=4)
    ),
    "vit": lambda: ViTModel(ViTConfig(**_SIZED)),
}
WHOLE = {
    "clip": lambda: CLIPModel(CLIPConfig(vision_config=_SIZED, text_config=_TEXT)),
    "siglip": lambda: SiglipModel(SiglipConfig(vision_config=_SIZED, text_config=_TEXT)),
    "siglip2": lambda: Siglip2Model(
        Siglip2Config(vision_config=_TOWER | {"num_patches": PATCHES}, text_config=_TEXT)
    ),
    "vit": lambda: ViTForImageClassification(ViTConfig(**_SIZED)),
}
_SQUARE = {"height": SIDE, "width": SIDE}
PROCESSORS = {
    "clip": lambda: CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=_SQUARE),
    "siglip": lambda: SiglipImageProcessorPil(size=_SQUARE),
    "siglip2": lambda: Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=PATCHES),
    "dinov2": lambda: BitImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=_SQUARE),
    "dinov2_with_registers": lambda: BitImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size=_SQUARE
    ),
    "vit": lambda: ViTImageProcessorPil(size=_SQUARE),
}


def make(family, whole=False):
    """A tower whose weights are large enough for its tokens and its attention to differ."""
    torch.manual_seed(0)
    model = (WHOLE if whole else MAKERS)[family]()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=generator)
    return model.eval()


@pytest.fixture(scope="session")
def towers(tmp_path_factory):
    """Folders of all families, with image processors: {family: folder}."""
    root = tmp_path_factory.mktemp("towers")
    for family in MAKERS:
        make(family).save_pretrained(root / family)
        PROCESSORS[family]().save_pretrained(root / family)
    return {family: root / family for family in MAKERS}
