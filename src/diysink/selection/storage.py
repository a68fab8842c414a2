"""What was trained to select, on disk: R (``reweight.*``) or LSG's gates (``lsg.*``).

Weights as safetensors, all else as JSON beside them. R does not keep its sentence encoder, only
which kind it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from diysink.artifact import BrokenFileError, atomic_path, load_json, load_tensors, write_json
from diysink.selection.gates import LayerGates, LayerGatesSettings, LSGSelection
from diysink.selection.reweight import Reweight, ReweightSelection, ReweightSettings
from diysink.selection.sentence import LANGUAGE_MODEL, load_sentences

Trained = ReweightSelection | LSGSelection


def save_selection(selection: Trained, folder: Path) -> None:
    """Write R or the gates, and how they are used, into ``folder``."""
    match selection:
        case LSGSelection():
            _save(folder, "lsg", selection.gates, selection.gates.describe())
        case ReweightSelection():
            how = {
                "at": selection.at,
                "layers": selection.layers,
                "sentence": selection.encoder.kind,
            }
            _save(folder, "reweight", selection.reweight, selection.reweight.describe() | how)


def load_selection(
    folder: Path, sentence: Path | str, embeddings: nn.Embedding, tokenizer: Any
) -> Trained | None:
    """What ``folder`` holds, as a selection; None if it holds neither R nor gates.

    Args:
        folder: see :func:`save_selection`.
        sentence: folder or hub id of R's sentence encoder. It is not looked at where R was trained
            on the language model's own embeddings, or for LSG.
        embeddings: the language model's input embeddings.
        tokenizer: the language model's tokenizer.

    Raises:
        ValueError: R was trained with another kind of sentence encoder, or one of another width.
        BrokenFileError: a file of it is missing or damaged, or they do not belong together.
    """
    if (folder / "lsg.json").is_file():
        saved = _settings(folder / "lsg.json")
        with _named(folder / "lsg.json"):
            gates = LayerGates(LayerGatesSettings(**{**saved, "layers": tuple(saved["layers"])}))
        _load(gates, folder / "lsg.safetensors")
        return LSGSelection(gates.eval())
    if not (folder / "reweight.json").is_file():
        return None
    saved = _settings(folder / "reweight.json")
    # Saved by 0.1.0, which knew one place and one kind of sentence encoder.
    at, layers = saved.pop("at", "connector"), saved.pop("layers", None)
    kind = saved.pop("sentence", "encoder")
    if kind == "encoder" and sentence == LANGUAGE_MODEL:
        raise ValueError(
            f"R in {folder} was trained with a sentence encoder: name that one, not {sentence!r}"
        )
    encoder = load_sentences(
        LANGUAGE_MODEL if kind == LANGUAGE_MODEL else sentence, embeddings, tokenizer
    )
    with _named(folder / "reweight.json"):
        reweight = Reweight(ReweightSettings(**saved))
    _load(reweight, folder / "reweight.safetensors")
    return ReweightSelection(encoder, reweight.eval(), at, layers)


def _settings(path: Path) -> dict[str, Any]:
    value = load_json(path)
    if not isinstance(value, dict):
        raise BrokenFileError(path, f"holds a {type(value).__name__}, not settings. Train it again")
    return value


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Settings that name no such module: the file is said."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
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


def _save(folder: Path, name: str, trained: nn.Module, how: dict[str, object]) -> None:
    with atomic_path(folder / f"{name}.safetensors") as temporary:
        save_file({k: v.cpu() for k, v in trained.state_dict().items()}, temporary)
    write_json(folder / f"{name}.json", how)
