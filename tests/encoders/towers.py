"""Tiny random vision towers of every family, alone and as parts of whole models."""

import pytest
import torch
from transformers import (
    Aimv2Config,
    Aimv2Model,
    Aimv2VisionConfig,
    Aimv2VisionModel,
    AltCLIPVisionConfig,
    AltCLIPVisionModel,
    BeitConfig,
    BeitForImageClassification,
    BeitImageProcessorPil,
    BeitModel,
    BitImageProcessorPil,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessorPil,
    ChineseCLIPModel,
    ChineseCLIPVisionConfig,
    ChineseCLIPVisionModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPSegConfig,
    CLIPSegModel,
    CLIPSegVisionConfig,
    CLIPSegVisionModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    DeiTConfig,
    DeiTForImageClassification,
    DeiTImageProcessorPil,
    DeiTModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    IJepaConfig,
    IJepaModel,
    MetaClip2Config,
    MetaClip2Model,
    MetaClip2VisionConfig,
    MetaClip2VisionModel,
    MLCDVisionConfig,
    MLCDVisionModel,
    PixioConfig,
    PixioModel,
    RadioConfig,
    RadioModel,
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
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
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

_RATIO = {name: size for name, size in _SIZED.items() if name != "intermediate_size"}
_RELATIVE = {"use_relative_position_bias": True, "use_shared_relative_position_bias": True}
_PARTS = {"vision_config": _SIZED, "text_config": _TEXT}
_BERT = {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8, "vocab_size": 16}
_BERT |= {"num_attention_heads": 1, "project_dim": 8}

MAKERS = {
    "clip": lambda: CLIPVisionModel(CLIPVisionConfig(**_SIZED)),
    "siglip": lambda: SiglipVisionModel(SiglipVisionConfig(**_SIZED)),
    "siglip2": lambda: Siglip2VisionModel(Siglip2VisionConfig(**_TOWER, num_patches=PATCHES)),
    "metaclip_2": lambda: MetaClip2VisionModel(MetaClip2VisionConfig(**_SIZED)),
    "altclip": lambda: AltCLIPVisionModel(AltCLIPVisionConfig(**_SIZED)),
    "chinese_clip": lambda: ChineseCLIPVisionModel(ChineseCLIPVisionConfig(**_SIZED)),
    "clipseg": lambda: CLIPSegVisionModel(CLIPSegVisionConfig(**_SIZED)),
    "mlcd": lambda: MLCDVisionModel(MLCDVisionConfig(**_SIZED, num_key_value_groups=1)),
    "aimv2": lambda: Aimv2VisionModel(Aimv2VisionConfig(**_SIZED)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**_SIZED)),
    "dinov2_with_registers": lambda: Dinov2WithRegistersModel(
        Dinov2WithRegistersConfig(**_SIZED, num_register_tokens=4)
    ),
    "dinov3": lambda: DINOv3ViTModel(DINOv3ViTConfig(**_SIZED, num_register_tokens=4)),
    "radio": lambda: RadioModel(RadioConfig(**_RATIO, mlp_ratio=1.5, max_img_size=2 * SIDE)),
    "vit": lambda: ViTModel(ViTConfig(**_SIZED)),
    "deit": lambda: DeiTModel(DeiTConfig(**_SIZED)),
    "vit_mae": lambda: ViTMAEModel(ViTMAEConfig(**_SIZED)),
    "ijepa": lambda: IJepaModel(IJepaConfig(**_SIZED)),
    "pixio": lambda: PixioModel(PixioConfig(**_RATIO, mlp_ratio=2)),
    "beit": lambda: BeitModel(BeitConfig(**_SIZED, **_RELATIVE)),
}
# Without AltCLIP: transformers saves its vision encoder under other names than those of the hub.
WHOLE = {
    "clip": lambda: CLIPModel(CLIPConfig(**_PARTS)),
    "siglip": lambda: SiglipModel(SiglipConfig(**_PARTS)),
    "siglip2": lambda: Siglip2Model(
        Siglip2Config(vision_config=_TOWER | {"num_patches": PATCHES}, text_config=_TEXT)
    ),
    "metaclip_2": lambda: MetaClip2Model(MetaClip2Config(**_PARTS)),
    "chinese_clip": lambda: ChineseCLIPModel(
        ChineseCLIPConfig(vision_config=_SIZED, text_config=_BERT)
    ),
    "clipseg": lambda: CLIPSegModel(CLIPSegConfig(**_PARTS)),
    "aimv2": lambda: Aimv2Model(Aimv2Config(**_PARTS)),
    "vit": lambda: ViTForImageClassification(ViTConfig(**_SIZED)),
    "deit": lambda: DeiTForImageClassification(DeiTConfig(**_SIZED)),
    "vit_mae": lambda: ViTMAEForPreTraining(ViTMAEConfig(**_SIZED)),
    "beit": lambda: BeitForImageClassification(BeitConfig(**_SIZED, **_RELATIVE)),
}
_SQUARE = {"height": SIDE, "width": SIDE}


def _cropped(processor):
    return lambda: processor(size={"shortest_edge": SIDE}, crop_size=_SQUARE)


PROCESSORS = {
    "clip": _cropped(CLIPImageProcessorPil),
    "siglip": lambda: SiglipImageProcessorPil(size=_SQUARE),
    "siglip2": lambda: Siglip2ImageProcessorPil(patch_size=PATCH, max_num_patches=PATCHES),
    "metaclip_2": _cropped(CLIPImageProcessorPil),
    "altclip": _cropped(CLIPImageProcessorPil),
    "chinese_clip": _cropped(ChineseCLIPImageProcessorPil),
    "clipseg": lambda: ViTImageProcessorPil(size=_SQUARE),
    "mlcd": _cropped(CLIPImageProcessorPil),
    "aimv2": _cropped(CLIPImageProcessorPil),
    "dinov2": _cropped(BitImageProcessorPil),
    "dinov2_with_registers": _cropped(BitImageProcessorPil),
    "dinov3": lambda: ViTImageProcessorPil(size=_SQUARE),
    "radio": lambda: CLIPImageProcessorPil(size=_SQUARE, do_center_crop=False, do_normalize=False),
    "vit": lambda: ViTImageProcessorPil(size=_SQUARE),
    "deit": lambda: DeiTImageProcessorPil(size=_SQUARE, crop_size=_SQUARE),
    "vit_mae": lambda: ViTImageProcessorPil(size=_SQUARE),
    "ijepa": lambda: ViTImageProcessorPil(size=_SQUARE),
    "pixio": _cropped(BitImageProcessorPil),
    "beit": lambda: BeitImageProcessorPil(size=_SQUARE, crop_size=_SQUARE),
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
