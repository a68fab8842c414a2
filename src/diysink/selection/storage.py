"""R on disk: ``reweight.safetensors`` and ``reweight.json``."""

import json
from pathlib import Path

from safetensors.torch import load_file, save_file

from diysink.artifact import atomic_path, write_json
from diysink.selection.reweight import Reweight, ReweightSelection, ReweightSettings
from diysink.selection.sentence import SentenceEncoder


def save_reweight(reweight: Reweight, folder: Path) -> None:
    """Write R's weights and settings into ``folder``."""
    with atomic_path(folder / "reweight.safetensors") as temporary:
        save_file(reweight.state_dict(), temporary)
    write_json(folder / "reweight.json", reweight.describe())


def load_reweight(folder: Path, sentence: Path | str) -> ReweightSelection:
    """R from ``folder`` behind the sentence encoder at ``sentence``.

    Raises:
        ValueError: the sentence encoder's width is not the one R was trained on.
    """
    settings = ReweightSettings(**json.loads((folder / "reweight.json").read_text()))
    encoder = SentenceEncoder.load(sentence)
    if encoder.dim != settings.dim:
        raise ValueError(
            f"R was trained on question vectors of width {settings.dim}, the sentence encoder at "
            f"{sentence} gives {encoder.dim}: load the one that R was trained with"
        )
    reweight = Reweight(settings)
    reweight.load_state_dict(load_file(folder / "reweight.safetensors"))
    return ReweightSelection(encoder, reweight.eval())
