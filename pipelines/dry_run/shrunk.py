"""Random models of the run's architectures, so small that a step is nothing, as checkpoints."""

import json
from pathlib import Path
from typing import Any

import torch

from diysink.architectures.shrunken import SIDE, shrunken
from pipelines.dry_run.processor import IMAGE


def tiny_tokenizer() -> Any:
    """The miniature's."""
    from diysink.encoders import load_tokenizer
    from diysink.miniature.weights import path

    return load_tokenizer(str(path("language")))


def tiny_config(config: Any, tokenizer: Any, depth: int | None = None) -> Any:
    """A tiny configuration of the same architecture, for this tokenizer; see `shrunken`."""
    end, image = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(IMAGE)
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": end, "eos_token_id": end}
    special |= dict.fromkeys(("image_token_id", "image_token_index", "image_patch_id"), image)
    return shrunken(config, vocabulary=len(tokenizer), special=special, depth=depth)


def make_encoder(config: Any, folder: Path, depth: int) -> None:
    """A vision encoder and its image processor."""
    from transformers import AutoModel

    from diysink.encoders.loading import let_auto_model_build

    tiny = tiny_config(config, tiny_tokenizer(), depth)
    let_auto_model_build(tiny)
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny)
    with torch.no_grad():  # of the first weights, all tokens are alike
        for weight in model.parameters():
            weight += 0.2 * torch.randn(weight.shape)
    model.save_pretrained(folder)
    _write_image_processor(folder)


def make_language(config: Any, folder: Path, depth: int) -> None:
    """A language model and its tokenizer."""
    from transformers import AutoModelForCausalLM

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    tiny = tiny_config(config, tokenizer, depth)
    AutoModelForCausalLM.from_config(tiny).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_lvlm(config: Any, folder: Path, depth: int, max_new_tokens: int) -> Any:
    """A vision-language model in memory, asked with hand-made inputs; its configuration on disk."""
    from transformers import AutoModelForImageTextToText

    from diysink.evaluation.lvlm import LVLM
    from pipelines.dry_run.processor import HandMadeProcessor

    tokenizer = tiny_tokenizer()
    tiny = tiny_config(config, tokenizer, depth)
    tiny.save_pretrained(folder)
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(tiny).eval()
    # A random model may well say "<image>", which stands for an image that is not there.
    model.generation_config.update(suppress_tokens=tokenizer.all_special_ids)
    return LVLM(model, HandMadeProcessor(tiny, tokenizer), max_new_tokens=max_new_tokens)


def make_llava(config: Any, folder: Path, depth: int) -> None:
    """A stock LLaVA with its tokenizer and image processor, to be adopted."""
    from transformers import AutoModelForImageTextToText

    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(tiny_config(config, tokenizer, depth))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _write_image_processor(folder)


def _write_image_processor(folder: Path) -> None:
    size = {"height": SIDE, "width": SIDE}
    settings = {"image_processor_type": "CLIPImageProcessor", "size": size, "do_center_crop": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def encoder_tau(folder: Path, layer: int, relative: bool, images: list[Any]) -> float:
    """A threshold that makes about a tenth of a random encoder's tokens sinks."""
    from diysink.encoders import load_encoder, load_image_processor
    from diysink.sinks import token_norms

    with torch.no_grad():
        norms = token_norms(load_encoder(folder, layer)(load_image_processor(folder)(images)))
    if relative:
        norms = norms / norms.median(dim=1, keepdim=True).values
    return float(norms.quantile(0.9))
