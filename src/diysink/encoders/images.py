"""Images to pixels as a checkpoint wants them, without torchvision."""

from pathlib import Path
from typing import Any

from transformers import (
    AutoConfig,
    BeitImageProcessorPil,
    BitImageProcessorPil,
    ChineseCLIPImageProcessorPil,
    CLIPImageProcessorPil,
    DeiTImageProcessorPil,
    SiglipImageProcessorPil,
    ViTImageProcessorPil,
)
from transformers.image_processing_base import ImageProcessingMixin
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from diysink.encoders.checkpoint import checkpoint_source
from diysink.encoders.formats import CheckpointError
from diysink.encoders.pixels import ImageProcessor, Pixels
from diysink.encoders.pretrained import naming_damage

_PROCESSORS = {
    "BeitImageProcessor": BeitImageProcessorPil,
    "BitImageProcessor": BitImageProcessorPil,
    "ChineseCLIPImageProcessor": ChineseCLIPImageProcessorPil,
    "CLIPImageProcessor": CLIPImageProcessorPil,
    "DeiTImageProcessor": DeiTImageProcessorPil,
    "SiglipImageProcessor": SiglipImageProcessorPil,
    "ViTImageProcessor": ViTImageProcessorPil,
}

_BY_OTHERS = ("DINOv3ViTImageProcessor", "Siglip2ImageProcessor")


def load_image_processor(path_or_id: str | Path, revision: str | None = None) -> ImageProcessor:
    """Images to pixels as a checkpoint wants them; see `stock_image_processor`.

    Returns:
        A function from RGB images to ``Float["batch channels height width"]``, float32.
    """
    return to_pixels(stock_image_processor(path_or_id, revision))


def to_pixels(processor: Any) -> Pixels:
    """An image processor of transformers as a function from RGB images to float32 pixels."""
    return Pixels(processor)


def stock_image_processor(path_or_id: str | Path, revision: str | None = None) -> Any:
    """The image processor of a checkpoint, from its settings, as an object of transformers.

    SigLIP 2's own processor makes patches in numbers that differ from image to image; here its
    images become squares of the size that its configuration stands for. DINOv3's own needs
    torchvision; here ViT's works with its settings, which rounds to 8 bits after resizing.

    Args:
        path_or_id: a folder or a hub id.
        revision: of a hub id.

    Raises:
        ValueError: for a kind of image processor that is not supported, or a damaged file.
        CheckpointError: there is none, or it is another kind of checkpoint.
    """
    source = checkpoint_source(path_or_id, revision, config=False)
    with naming_damage(source):
        try:
            settings, _ = ImageProcessingMixin.get_image_processor_dict(source, revision=revision)
        except OSError as error:
            raise CheckpointError(
                f"{source} has no settings of an image processor: neither preprocessor_config.json "
                "nor an image_processor in processor_config.json can be read. Copy the file from "
                f"the checkpoint that the weights come from ({error})"
            ) from error
    kind = settings.get("image_processor_type") or settings.get("feature_extractor_type") or ""
    kind = (
        kind.removesuffix("Pil").removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    )
    if kind == "Siglip2ImageProcessor":
        config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
        vision = getattr(config, "vision_config", config)
        side = round(vision.num_patches**0.5) * vision.patch_size
        kept = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
        size = {"height": side, "width": side}
        chosen = {name: settings[name] for name in kept if name in settings}
        return SiglipImageProcessorPil(**chosen, size=size, resample=2)
    if kind == "DINOv3ViTImageProcessor":
        mean = {"image_mean": IMAGENET_DEFAULT_MEAN, "image_std": IMAGENET_DEFAULT_STD}
        return ViTImageProcessorPil.from_dict(mean | settings)
    if kind in _PROCESSORS:
        with naming_damage(source):
            return _PROCESSORS[kind].from_pretrained(source, revision=revision)
    raise ValueError(
        f"{source} names the image processor {kind or 'nothing'!r}; supported are "
        f"{', '.join([*_PROCESSORS, *_BY_OTHERS])}. Set image_processor_type in "
        "its preprocessor_config.json to the one that fits."
    )
