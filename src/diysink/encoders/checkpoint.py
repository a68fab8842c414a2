"""One cheap look at what a folder or a hub id is, before anything is built or read in full.

People have checkpoints in many forms, and most of them are not the one that transformers reads: the
LLaVA authors' own layout, an adapter, a pointer that Git LFS left, a training's state. Each is told
by its file names and its config.json, and the error names it and says what to do. Every entrance
that takes a folder or a hub id calls `checkpoint_source`; whoever reads weights from it calls
`check_weights` too. No weight is read, nothing is unpickled, no code of a checkpoint runs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from transformers import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import cached_file

from diysink.artifact import BrokenFileError, check_tensors, load_json, stand_in
from diysink.encoders.formats import (
    CheckpointError,
    foreign_file,
    foreign_weights,
    original_llava,
    training_state,
)

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
ADAPTER = "adapter_config.json"
# Of a folder that is asked for its image processor alone.
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
# What is read from a checkpoint; a pointer in the place of anything else does no harm.
_READ = {".json", ".safetensors", ".model", ".txt", ".jinja"}
_HINT = (
    "Give the folder of a checkpoint (config.json and model.safetensors), or a hub id such as "
    "openai/clip-vit-large-patch14-336."
)


def checkpoint_source(
    path_or_id: str | Path, revision: str | None = None, *, config: bool = True
) -> str:
    """A folder or hub id as the loaders of transformers take it, looked at.

    Args:
        path_or_id: a folder or a hub id.
        revision: of a hub id.
        config: whether a config.json is needed; False: an image processor's settings do.

    Raises:
        CheckpointError: it is something else than a checkpoint of transformers.
        FileNotFoundError: there is no such folder, and no such model on the hub.
        BrokenFileError: a file in it is damaged or stands in for another.
    """
    source = str(path_or_id)
    folder = Path(source)
    if folder.is_dir():
        _check_folder(folder, config=config)
    elif folder.is_symlink() or folder.exists():
        raise CheckpointError(f"{source} {foreign_file(folder)}")
    elif folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
        raise FileNotFoundError(f"There is no folder {source}. {_HINT}")
    else:
        _check_hub(source, revision, config=config)
    return source


def model_type_of(source: str, revision: str | None = None) -> str:
    """The ``model_type`` in a config.json, also where building the configuration needs timm."""
    settings, _ = PreTrainedConfig.get_config_dict(source, revision=revision)
    return str(settings.get("model_type"))


def check_weights(source: str) -> None:
    """Look at the headers of the weights that transformers would read from a folder.

    Of a hub id nothing is looked at: the hub vouches for whole files.

    Raises:
        CheckpointError: no safetensors of the names that transformers reads; missing shards; the
            LLaVA authors' own names.
        BrokenFileError: a file that is cut off or damaged, or an index that is.
    """
    folder = Path(source)
    if not folder.is_dir():
        return
    files = weight_files(folder)
    if not files:
        raise CheckpointError(training_state(folder) or foreign_weights(folder))
    if absent := [file.name for file in files if not file.exists() and not file.is_symlink()]:
        raise CheckpointError(
            f"{folder / INDEX} names {len(files)} shards, and {len(absent)} of them are not there: "
            f"{_some(absent)}. Download or copy them too"
        )
    names = [name for file in files for name in check_tensors(file)]
    if any("mm_projector." in name for name in names):
        raise CheckpointError(original_llava(source, {}))


def weight_files(folder: Path) -> list[Path]:
    """The files of weights that transformers would read from a folder; they need not be there.

    Raises:
        BrokenFileError: the index of shards is not one.
    """
    if (folder / WEIGHTS).exists() or (folder / WEIGHTS).is_symlink():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if not index.exists():
        return []
    value = load_json(index)
    where = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(where, dict) or not where:
        raise BrokenFileError(index, "it has no weight_map, so it is not an index of shards")
    names = sorted({str(name) for name in where.values()})
    if outside := [name for name in names if Path(name).name != name]:
        raise BrokenFileError(index, f"it names {outside[0]!r}, which is not a file of its folder")
    return [folder / name for name in names]


def damage(source: str) -> BrokenFileError | None:
    """The first file of a folder that cannot be read: looked for when loading has failed."""
    folder = Path(source)
    if not folder.is_dir():
        return None
    try:
        for file in sorted(folder.glob("*.json")):
            load_json(file)
        for file in sorted(folder.glob("*.safetensors")):
            check_tensors(file)
    except BrokenFileError as error:
        return error
    return None


def _check_folder(folder: Path, *, config: bool) -> None:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not entries:
        raise CheckpointError(f"{folder} is an empty folder. {_HINT}")
    for path in entries:
        if path.suffix not in _READ:
            continue
        if path.is_symlink() and not path.exists():
            raise BrokenFileError(path, stand_in(path) or "a link that leads nowhere")
        # A pointer is a few lines; an empty README does no harm.
        needed = path.suffix != ".txt" or path.stat().st_size > 0
        if path.is_file() and path.stat().st_size < 2048 and needed and (what := stand_in(path)):
            raise BrokenFileError(path, what)
    if (folder / ADAPTER).exists():
        raise CheckpointError(_adapter(str(folder), load_json(folder / ADAPTER), entries))
    if (folder / CONFIG).exists():
        _check_config(str(folder), load_json(folder / CONFIG))
    elif config or not any((folder / name).exists() for name in _PROCESSORS):
        raise CheckpointError(_without_config(folder, entries))


def _check_hub(source: str, revision: str | None, *, config: bool) -> None:
    def find(name: str) -> str | None:
        found: str | None = cached_file(
            source, name, revision=revision, _raise_exceptions_for_missing_entries=False
        )
        return found

    try:
        found = find(CONFIG)
        if found is None and (adapter := find(ADAPTER)) is not None:
            raise CheckpointError(_adapter(source, load_json(adapter), ()))
        if found is None and (config or not any(map(find, _PROCESSORS))):
            # Once more, for the reason: not on this machine, no such model, no right to see it.
            cached_file(source, CONFIG, revision=revision)
    except CheckpointError:
        raise
    except OSError as error:
        raise FileNotFoundError(
            f"There is no folder {source} here. Taken as the id of a model on the hub, it cannot "
            f"be read: {error} {_HINT}"
        ) from error
    if found is not None:
        _check_config(source, load_json(found))


def _check_config(source: str, config: Any) -> None:
    """Whether a config.json is of a kind that transformers builds without code of others."""
    if not isinstance(config, dict):
        raise CheckpointError(
            f"{source}: its config.json holds a {type(config).__name__}, not an object, so it is "
            "not a configuration of transformers. Copy or download it again"
        )
    kind = config.get("model_type")
    if message := original_llava(source, config):
        raise CheckpointError(message)
    if not isinstance(kind, str):
        raise CheckpointError(f"{source}: {_no_kind(config)}")
    if "quantization" in config and "quantization_config" not in config:
        raise CheckpointError(
            f"{source} holds weights that were quantised for MLX, which PyTorch cannot read. Take "
            "the checkpoint that they were made from"
        )
    if kind == "diysink" or kind in CONFIG_MAPPING:
        return
    code = isinstance(config.get("auto_map"), Mapping)
    raise CheckpointError(
        f"{source} says model_type {kind!r}, which transformers {transformers.__version__} does "
        "not know"
        + (
            ". It needs Python code that comes with the checkpoint, which is never run. Take a "
            "checkpoint of the same model in transformers' own format, if there is one"
            if code
            else ": it is misspelt, made for another library, or for a newer transformers"
        )
    )


def _no_kind(config: Mapping[str, Any]) -> str:
    if "pretrained_cfg" in config or ("architecture" in config and "num_features" in config):
        return (
            "it is a checkpoint of timm, not of transformers. Take the same encoder in "
            "transformers' format (CLIP, SigLIP, DINOv2 and ViT are on the hub under their makers)"
        )
    if "model_cfg" in config:
        return (
            "it is a checkpoint of open_clip, not of transformers. Take the same encoder in "
            "transformers' format"
        )
    return (
        "its config.json has no model_type, so it is not known what model it is. Copy or download "
        "the config.json of the checkpoint again, or name the model_type in it"
    )


def _adapter(source: str, config: Any, entries: Sequence[Path]) -> str:
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    kind = str(config.get("peft_type") or "PEFT") if isinstance(config, dict) else "PEFT"
    base = base or "the base model"
    message = f"{source} holds a {kind} adapter of {base} (adapter_config.json), not a whole model"
    if any(path.name == "non_lora_trainables.bin" for path in entries):
        return (
            f"{message}; it was made by the LLaVA authors' code. Merge it there "
            "(scripts/merge_lora_weights.py), then convert what comes out to transformers' format "
            "(transformers' convert_llava_weights_to_hf.py)"
        )
    return (
        f"{message}. Merge it and give the merged model's folder: load the base model with "
        "transformers, then peft.PeftModel.from_pretrained(base, adapter).merge_and_unload()"
        ".save_pretrained(folder); save tokenizer or processor there too"
    )


def _without_config(folder: Path, entries: Sequence[Path]) -> str:
    """What a folder without config.json is."""
    if (folder / "snapshots").is_dir() and (folder / "blobs").is_dir():
        snapshots = sorted(path for path in (folder / "snapshots").iterdir() if path.is_dir())
        inside = snapshots[-1] if snapshots else folder / "snapshots" / "<revision>"
        return f"{folder} is the hub's cache of a model. Give the folder of one revision: {inside}"
    if (folder / "model_index.json").exists():
        return (
            f"{folder} is a pipeline of diffusers, which holds several models. Give the folder of "
            "one of them (its image_encoder, if it has one)"
        )
    within = [path for path in entries if path.is_dir() and (path / CONFIG).exists()]
    if within:
        more = "" if len(within) == 1 else f"; there are {len(within)}: {_some(within)}"
        return f"{folder} is not a checkpoint, but {within[0]} in it is: give that folder{more}"
    adapters = [path for path in entries if path.is_dir() and (path / ADAPTER).exists()]
    if adapters:
        return _adapter(str(adapters[0]), load_json(adapters[0] / ADAPTER), ())
    if message := training_state(folder):
        return message
    if not any(path.suffix == ".safetensors" for path in entries):
        known = foreign_weights(folder, default="")
        if known:
            return known
    below = sorted(path.parent for path in folder.glob("*/*/config.json"))
    if below:
        return f"{folder} is not a checkpoint, but {below[0]} in it is: give that folder"
    return (
        f"{folder} has no config.json, so it is not a checkpoint of transformers; it holds "
        f"{_some([path.name for path in entries])}. {_HINT}"
    )


def _some(names: Sequence[object], most: int = 4) -> str:
    shown = ", ".join(str(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
