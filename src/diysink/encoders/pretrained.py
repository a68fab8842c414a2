"""Read a checkpoint with transformers: safetensors only, no random weights, damage named.

What transformers would do silently or say without a name is done here once for every model: a
weight that is missing or of another shape would be random, a damaged file would be an error that
does not say which file it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer
from transformers.utils import logging

from diysink.artifact import check_tensors, load_json
from diysink.encoders.checkpoint import INDEX, check_weights, damage, weight_files
from diysink.encoders.formats import CheckpointError


def load_pretrained(
    architecture: Any,
    source: str,
    revision: str | None = None,
    *,
    optional: Callable[[str], bool] = lambda name: False,
    **options: Any,
) -> Any:
    """A model of transformers, every weight of it from the checkpoint.

    Args:
        architecture: class of transformers, an Auto class or the model's own.
        source: from `checkpoint_source`.
        revision: of a hub id.
        optional: whether a weight may be missing, by its name.
        options: of ``from_pretrained``.

    Raises:
        CheckpointError: no weights that can be read; weights that are missing or do not fit.
        BrokenFileError: a file that is damaged.
        OSError: nothing there.
    """
    check_weights(source)
    with quiet_loading(), naming_damage(source):
        model, report = architecture.from_pretrained(
            source,
            revision=revision,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with names
            **options,
        )
    what = type(model).__name__
    if unfit := sorted(map(_unfit, report["mismatched_keys"])):
        raise CheckpointError(
            f"{source} has {len(unfit)} weights of other shapes than its config.json makes a "
            f"{what} of (the first is {unfit[0]}). {_where(source, unfit[0].split()[0])}"
            "Weights and config.json belong to different models, or one of them is damaged"
        )
    missing = sorted(name for name in report["missing_keys"] if not optional(name))
    if missing:
        raise CheckpointError(
            f"{source} lacks {len(missing)} weights of a {what} (the first is {missing[0]}): they "
            f"would be random. {_where(source, missing[0])}It is not a complete checkpoint of "
            "this model"
        )
    return model


def load_tokenizer(source: str, revision: str | None = None) -> Any:
    """The tokenizer of a checkpoint, without code of its own.

    Raises:
        CheckpointError: its files cannot be read.
        BrokenFileError: one of them is damaged.
        OSError: there is none.
    """
    with naming_damage(source):
        return AutoTokenizer.from_pretrained(source, revision=revision, trust_remote_code=False)


@contextmanager
def naming_damage(source: str) -> Iterator[None]:
    """Name the damaged file of a folder where loading fails for it.

    Raises:
        BrokenFileError: loading failed, and this file cannot be read.
        CheckpointError: loading failed in a way that names nothing.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, ImportError):
        raise
    except Exception as error:
        if (found := damage(source)) is not None:
            raise found from error
        if isinstance(error, (OSError, ValueError)):
            raise
        raise CheckpointError(
            f"{source} cannot be loaded ({type(error).__name__}: {error}). Its files do not belong "
            "together, or one of them is damaged: copy or download it again"
        ) from error


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Without the table of unused weights: that text towers are left out is the point."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _unfit(entry: Any) -> str:
    """``name (shape in the file, shape in the model)`` of what transformers reports."""
    name, *shapes = (entry,) if isinstance(entry, str) else entry
    return f"{name} {tuple(tuple(shape) for shape in shapes)}" if shapes else str(name)


def _where(source: str, weight: str) -> str:
    """In which file a weight is, or should be; empty where that is not known.

    The checkpoint's names may begin in another way than the model's.
    """
    folder = Path(source)
    if not folder.is_dir():
        return ""
    files = weight_files(folder)
    if len(files) == 1:
        return f"The file is {files[0]}. "

    def same(name: str) -> bool:
        return name.endswith(weight) or weight.endswith(name)

    named = load_json(folder / INDEX)["weight_map"]
    held = next((file for file in files if any(map(same, check_tensors(file)))), None)
    said = next((folder / str(file) for name, file in named.items() if same(name)), None)
    found = held or said
    return f"The file is {found}. " if found else ""
