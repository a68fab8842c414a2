"""What an older processor's file leaves out, from the model's configuration.

Processors of LLaVA's kind work out the number of placeholders from the patch size. Older
checkpoints do not say it in processor_config.json, though their config.json does; some say the
patch size, but not how many class tokens there are.
"""

from typing import Any

from diysink.architectures import ENCODERS, encoder_family


def complete(processor: Any, config: Any, written: dict[str, Any]) -> None:
    """Fill in, in place, what a processor does not know.

    Args:
        processor: of a vision-language model.
        config: of the model.
        written: what the processor's own file says.
    """
    vision = getattr(config, "vision_config", None)
    patch = getattr(vision, "patch_size", None)
    if vision is None or patch is None:
        return
    unknown = hasattr(processor, "patch_size") and processor.patch_size is None
    if unknown:
        processor.patch_size = patch
    strategy = getattr(config, "vision_feature_select_strategy", None)
    if getattr(processor, "vision_feature_select_strategy", "") is None:
        processor.vision_feature_select_strategy = strategy
    if "num_additional_image_tokens" not in written and hasattr(
        processor, "num_additional_image_tokens"
    ):
        processor.num_additional_image_tokens = _class_tokens(vision)
    if getattr(processor, "num_image_tokens", 0) is None:
        side = getattr(vision, "image_size", None)
        if isinstance(side, int) and isinstance(patch, int):
            processor.num_image_tokens = (side // patch) ** 2


def _class_tokens(vision: Any) -> int:
    """Tokens that the vision encoder puts before its patches; 0 for one that is not known."""
    try:
        return ENCODERS[encoder_family(vision.model_type)].prefix(vision)
    except ValueError:
        return 0
