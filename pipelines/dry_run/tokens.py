"""How many tokens an image and a question are, against what the language model takes."""

from collections.abc import Iterator
from typing import Any

from diysink.connector import Connector, build_connector
from diysink.model.lengths import positions, training_length
from pipelines.dry_run.check import Check
from pipelines.dry_run.plan import Plan

IMAGE_SIZE = (768, 1024)
"""Height and width, in pixels, of the image that is counted where tokens depend on it."""


def tokens(plan: Plan) -> Iterator[Check]:
    """A check of the tokens of each model that reads images."""
    encoder, language = plan.configs.get("encoder"), plan.configs.get("language")
    if encoder is not None and language is not None and plan.trains:
        yield from _trained(plan, encoder, language)
    if plan.answers_by_lvlm and "lvlm" in plan.configs:
        yield _lvlm(plan, plan.configs["lvlm"])


def _trained(plan: Plan, encoder: Any, language: Any) -> Iterator[Check]:
    visual, text = max(connector_tokens(plan).values()), plan.text_tokens
    said = f"{patches(encoder)} patches, {text} of text"
    cut = []
    for name in ("align", "finetune", "reweight"):
        if name not in plan.stages:
            continue
        try:
            limit = training_length(language, plan.settings[name].max_length)
        except ValueError as error:
            yield Check(f"{name}.max_length", "wrong", str(error))
            continue
        if visual >= limit:
            yield Check(f"{name}.max_length", "wrong", f"{visual} visual tokens of {limit}")
        cut += [f"{name} cuts at {limit}"] if visual + text > limit else []
    yield Check("tokens of a dialogue", "ok", "; ".join([said, *cut]))
    most, new = positions(language), plan.new_tokens
    if plan.answers and most is not None:
        remark = f"{said}, {new} of an answer: {visual + text + new} of {most} positions"
        yield Check("evaluate.max_new_tokens", "ok" if visual + new < most else "wrong", remark)


def _lvlm(plan: Plan, config: Any) -> Check:
    most, new = positions(config), plan.new_tokens
    visual = lvlm_tokens(config)
    if visual is None:
        return Check("tokens of a question", "not run", f"not counted for {config.model_type}")
    total = visual + plan.text_tokens + new
    height, width = IMAGE_SIZE
    remark = (
        f"{visual} for an image of {width} x {height}, {plan.text_tokens} of text, {new} of an "
        f"answer: {total} of {most or 'any number of'} positions"
    )
    fits = most is None or total <= most
    return Check("tokens of a question", "ok" if fits else "wrong", remark)


def connector_tokens(plan: Plan) -> dict[str, int]:
    """Visual tokens that each trained connector gives for an image, by its name."""
    count = patches(plan.configs["encoder"])
    return {name: made.tokens_out(count) for name, made in connectors(plan).items()}


def connectors(plan: Plan) -> dict[str, Connector]:
    """The trained connectors by name, without memory for their weights."""
    import torch

    align = plan.settings["align"]
    widths = plan.configs["encoder"].hidden_size, plan.configs["language"].hidden_size
    with torch.device("meta"):
        return {
            name: build_connector(kind, *widths, options=align.connectors[name].options)
            for name, kind in align.kinds.items()
        }


def patches(config: Any) -> int:
    """Patches of an image of the encoder's own size."""
    size, patch = config.image_size, config.patch_size
    height, width = (size, size) if isinstance(size, int) else size
    rows, columns = (patch, patch) if isinstance(patch, int) else patch
    return int(height // rows) * int(width // columns)


def lvlm_tokens(config: Any) -> int | None:
    """Visual tokens of an image of `IMAGE_SIZE`'s size; None for a family that is not counted."""
    vision = config.vision_config
    height, width = IMAGE_SIZE
    match config.model_type:
        case "llava" | "paligemma" | "deepseek_vl":
            return patches(vision)
        case "gemma3":
            return int(config.mm_tokens_per_image)
        case "internvl":  # twelve tiles at most, 4 x 3 for this shape, and the overview
            return 13 * int(patches(vision) * config.downsample_ratio**2)
        case "qwen2_vl" | "qwen2_5_vl" | "qwen3_vl" | "qwen3_vl_moe" | "qwen3_5" | "qwen3_5_moe":
            side = vision.patch_size * vision.spatial_merge_size
            return round(height / side) * round(width / side)
        case _:
            return None
