"""Checkpoints in forms that are not transformers' own: their names, and what to do with each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.models.auto.configuration_auto import CONFIG_MAPPING


class CheckpointError(OSError, ValueError):
    """A folder or hub id is not a checkpoint that can be read here.

    It is an OSError, as transformers raises it where files are not those that it looks for, and a
    ValueError, because another folder has to be given.
    """


_CONVERT = "convert your own with a script of transformers' repository (src/transformers/models"
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin.index.json"}
_FORMATS = {
    ".gguf": (
        "weights in GGUF, llama.cpp's format. Take the checkpoint that they were made from, in "
        "safetensors"
    ),
    ".ggml": "weights in GGML, an old format of llama.cpp. Take the original, in safetensors",
    ".onnx": "an ONNX graph. Take the checkpoint that it was exported from, in safetensors",
    ".msgpack": (
        "weights of Flax. Where you trust it, convert it with an earlier transformers: "
        "from_pretrained(folder, from_flax=True).save_pretrained(other)"
    ),
    ".h5": (
        "weights of TensorFlow. Where you trust it, convert it with an earlier transformers: "
        "from_pretrained(folder, from_tf=True).save_pretrained(other)"
    ),
    ".tflite": "a TensorFlow Lite graph. Take the checkpoint that it was exported from",
    ".mlpackage": "a Core ML model. Take the checkpoint that it was exported from",
    ".engine": "a TensorRT engine. Take the checkpoint that it was built from",
    ".npz": "weights in NumPy's format (JAX). Take the same model in transformers' format",
}
_ARCHIVES = {".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z"}
_AS_SAFETENSORS = (
    "which loading would unpickle. Only safetensors are read. Load it with transformers where you "
    "trust it, and save it again: AutoModel.from_pretrained(folder).save_pretrained(other); "
    "of a LLaVA, LlavaForConditionalGeneration.from_pretrained(folder).save_pretrained(other)"
)


def original_llava(source: str, config: Mapping[str, Any]) -> str:
    """What to do with a checkpoint of the LLaVA authors' own code; empty: it is none.

    Args:
        source: where it is.
        config: of config.json; empty where the names of the weights told it.
    """
    kind = str(config.get("model_type") or "")
    own = "vision_config" not in config and any(
        name in config for name in ("mm_vision_tower", "mm_projector_type", "mm_hidden_size")
    )
    # llava_llama, llava_mistral, llava_qwen, llava_mpt, ...: transformers knows some of such names.
    named = kind.startswith(("llava_", "llava-")) and kind not in CONFIG_MAPPING
    if config and not own and not named:
        return ""
    what = f"model_type {kind!r}" if kind else "weights named mm_projector"
    message = (
        f"{source} is in the layout of the LLaVA authors' own code ({what}"
        + (
            f", mm_vision_tower {config['mm_vision_tower']!r}"
            if "mm_vision_tower" in config
            else ""
        )
        + "), which transformers does not read: it would build another model of the same name. "
    )
    tiles = str(config.get("image_aspect_ratio", "")).startswith("anyres")
    if "qwen" in kind:
        return (
            f"{message}Take the converted checkpoint (llava-hf/llava-onevision-qwen2-7b-ov-hf and "
            "others at huggingface.co/llava-hf), or "
            f"{_CONVERT}/llava_onevision/"
            "convert_llava_onevision_weights_to_hf.py)"
        )
    if tiles or kind == "llava_mistral":
        return (
            f"{message}Take the converted checkpoint (llava-hf/llava-v1.6-mistral-7b-hf, "
            "llava-hf/llava-v1.6-vicuna-7b-hf and others at huggingface.co/llava-hf), or "
            f"{_CONVERT}/llava_next/convert_llava_next_weights_to_hf.py)"
        )
    return (
        f"{message}Take the converted checkpoint (llava-hf/llava-1.5-7b-hf, "
        f"llava-hf/llava-1.5-13b-hf and others at huggingface.co/llava-hf), or "
        f"{_CONVERT}/llava/convert_llava_weights_to_hf.py)"
    )


def training_state(folder: Path) -> str:
    """What to do with a folder in which a training keeps its state; empty: it is none."""
    names = {path.name for path in folder.iterdir()}
    deep = sorted(folder.glob("global_step*")) or sorted(folder.glob("*zero_pp_rank_*"))
    deep += sorted(folder.glob("mp_rank_*model_states.pt"))
    if deep or "zero_to_fp32.py" in names:
        return (
            f"{folder} is a checkpoint of a DeepSpeed training, not a saved model. Gather its "
            "weights with the script beside it (python zero_to_fp32.py . model "
            "--safe_serialization), and add the model's config.json, tokenizer and processor"
        )
    lightning = sorted(folder.glob("*.ckpt")) or sorted(folder.glob("checkpoints/*.ckpt"))
    lightning += sorted(folder.glob("version_*/checkpoints/*.ckpt"))
    if lightning:
        return (
            f"{folder} is a folder of a Lightning training ({lightning[0].name}), not a saved "
            "model. Load the checkpoint into its own LightningModule (load_from_checkpoint) and "
            "save the model in it: module.model.save_pretrained(folder)"
        )
    if sorted(folder.glob("*.distcp")) or sorted(folder.glob("pytorch_model_fsdp_*")):
        return (
            f"{folder} is a sharded checkpoint of an FSDP training, not a saved model. Merge it "
            "(accelerate merge-weights checkpoint model), and add the model's config.json, "
            "tokenizer and processor"
        )
    if "latest_checkpointed_iteration.txt" in names:
        return (
            f"{folder} is a checkpoint of a Megatron training, not a saved model. Convert it to "
            "transformers' format with the converter of your Megatron"
        )
    return ""


def foreign_weights(folder: Path, default: str | None = None) -> str:
    """What a folder holds that has no weights of transformers' names, and what to do.

    Args:
        folder: it has neither model.safetensors nor an index of shards.
        default: said of a folder that holds no weights of any known format.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    named = [path.name for path in files if path.suffix == ".safetensors"]
    if any(name.startswith("model-0") for name in named):
        return (
            f"{folder} holds shards ({named[0]}, ...) but no model.safetensors.index.json, which "
            "says what is in which. Download or copy it too"
        )
    if named and (folder / "params.json").exists():
        return (
            f"{folder} holds {named[0]} and params.json: a model in its maker's own format "
            "(Mistral). Take the same model in transformers' format (config.json, "
            "model.safetensors)"
        )
    if named:
        return (
            f"{folder} holds {named[0]}, but no model.safetensors, which transformers reads. "
            "Rename it if it holds the whole model"
        )
    pickled = [path.name for path in files if path.suffix in _PICKLED and _weights(path)]
    if pickled:
        return f"{folder} holds no safetensors but {pickled[0]}, {_AS_SAFETENSORS}"
    for path in files:
        if path.suffix in _FORMATS:
            return f"{folder} holds no safetensors but {path.name}: {_FORMATS[path.suffix]}"
    if default is not None:
        return default
    return (
        f"{folder} holds no safetensors: a config.json and no weights. Download or copy "
        "model.safetensors (or all its shards and their index) too"
    )


def foreign_file(path: Path) -> str:
    """What a path that is no folder is, and what to do."""
    if path.is_symlink() and not path.exists():
        return (
            f"is a link to {path.readlink()}, which is not there. Give the folder of a checkpoint"
        )
    suffix = path.suffix
    if suffix in _FORMATS:
        return f"is {_FORMATS[suffix]}"
    if suffix in _PICKLED:
        return f"is a pickle of PyTorch, {_AS_SAFETENSORS}"
    if suffix in _ARCHIVES:
        return "is an archive. Unpack it and give the folder"
    return f"is a file. Give the folder that it lies in: {path.parent}"


def _weights(path: Path) -> bool:
    """Whether a pickle is one of weights: a Trainer's settings and an optimiser's state are not."""
    return path.stem not in {"training_args", "optimizer", "scheduler", "scaler", "rng_state"}
