"""Every kind of trained selection by name, and its files: ``<kind>.json``, ``<kind>.safetensors``.

To add a kind, write its class (a `TrainedSelection`) and name it in `TRAINED_SELECTIONS`.
"""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from diysink.artifact import BrokenFileError, atomic_path, load_json, load_tensors, write_json
from diysink.selection.base import SelectionParts, TrainedSelection
from diysink.selection.gates import LSGSelection
from diysink.selection.reweight import ReweightSelection

TRAINED_SELECTIONS: dict[str, type[TrainedSelection]] = {
    kind.kind: kind for kind in (ReweightSelection, LSGSelection)
}


def save_selection(selection: TrainedSelection, folder: Path) -> None:
    """Write what was trained, and how it is used, into ``folder``."""
    weights = {name: tensor.cpu() for name, tensor in selection.trained.state_dict().items()}
    with atomic_path(folder / f"{selection.kind}.safetensors") as temporary:
        save_file(weights, temporary)
    write_json(folder / f"{selection.kind}.json", selection.describe())


def load_selection(
    folder: Path, sentence: Path | str, input_embeddings: nn.Embedding, tokenizer: Any
) -> TrainedSelection | None:
    """What ``folder`` holds, as a selection; None if it holds no trained selection.

    Args:
        folder: see :func:`save_selection`.
        sentence: folder or hub id of a sentence encoder. It is not looked at where the selection
            was trained without one.
        input_embeddings: of the language model.
        tokenizer: of the language model.

    Raises:
        ValueError: it was trained with another kind of sentence encoder, or of another width.
        BrokenFileError: a file of it is missing or damaged, or they do not belong together.
    """
    parts = SelectionParts(sentence, input_embeddings, tokenizer)
    for kind, trained in TRAINED_SELECTIONS.items():
        path = folder / f"{kind}.json"
        if path.is_file():
            selection = _restored(trained, path, parts)
            _load(selection.trained, folder / f"{kind}.safetensors")
            return selection.eval()
    return None


def _restored(kind: type[TrainedSelection], path: Path, parts: SelectionParts) -> TrainedSelection:
    saved = load_json(path)
    if not isinstance(saved, dict):
        raise BrokenFileError(path, f"holds a {type(saved).__name__}, not settings. Train it again")
    try:
        return kind.restore(saved, parts)
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise BrokenFileError(
            path, f"not the settings of what was trained ({error}). Copy it again, or train again"
        ) from error


def _load(module: nn.Module, path: Path) -> None:
    tensors = load_tensors(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise BrokenFileError(
            path, f"its weights do not fit the settings beside it ({error}). Copy both again"
        ) from error
