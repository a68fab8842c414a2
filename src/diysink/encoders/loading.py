"""An encoder from a hub id or a folder: safetensors only, no remote code, no random weights."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedModel

from diysink.architectures import ENCODERS, encoder_family
from diysink.encoders.checkpoint import checkpoint_source, model_type_of
from diysink.encoders.encoder import Encoder
from diysink.encoders.pretrained import load_pretrained

_IN_LLAVA = {r"^(model\.)?vision_tower\.(vision_model\.)?": ""}
"""What stands before the names of a vision tower's weights, in every layout of LLaVA's keys."""
_IN_TWO_TOWERS = {r"^vision_model\.": ""}
"""The same beside a text encoder. Of most families transformers knows it, of AIMv2 it does not."""

_BY_MODEL_TYPE = {
    kind: row.architecture
    for row in ENCODERS.values()
    for kind in row.model_types
    if row.architecture
}


def load_encoder(
    path_or_id: str | Path,
    layer: int = -2,
    revision: str | None = None,
    *,
    dtype: torch.dtype = torch.float32,
) -> Encoder:
    """Load a vision tower, alone or out of a whole model (CLIP, SigLIP, a classifier, a LLaVA).

    Args:
        path_or_id: a folder or a hub id.
        layer: index into the hidden states, as in `Encoder`.
        revision: of a hub id; ignored for a folder.
        dtype: of the weights.

    Returns:
        The encoder, on the CPU, in evaluation mode, its weights frozen.

    Raises:
        ValueError: unsupported architecture, missing weights, no such layer, a damaged file.
        CheckpointError: another kind of checkpoint, or no safetensors.
        OSError: nothing there.
    """
    model = load_vision_tower(path_or_id, revision, dtype=dtype)
    folder = Path(path_or_id)
    encoder = Encoder(model, layer, folder.resolve().name if folder.is_dir() else str(path_or_id))
    return encoder.eval().requires_grad_(False)


def let_auto_model_build(config: Any) -> None:
    """Let AutoModel, which a LLaVA builds its vision encoder with, know this encoder too.

    Of some (MetaCLIP 2, AltCLIP, CLIPSeg) transformers has a class that AutoModel does not find.
    """
    if type(config) in MODEL_MAPPING or config.model_type not in _BY_MODEL_TYPE:
        return
    architecture = getattr(transformers, _BY_MODEL_TYPE[config.model_type])
    # exist_ok: without it, a configuration of transformers itself is passed over.
    AutoModel.register(type(config), architecture, exist_ok=True)


def load_vision_tower(
    path_or_id: str | Path, revision: str | None = None, *, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Load the whole stock vision model of a checkpoint, all its layers: what a LLaVA contains.

    Out of a LLaVA only the tower's own weights are read, in whichever of the layouts that its keys
    have had, from one file or from many.

    Raises:
        ValueError: unsupported architecture, missing weights, a damaged file.
        CheckpointError: another kind of checkpoint, or no safetensors.
        OSError: nothing there.
    """
    source = checkpoint_source(path_or_id, revision)
    if (kind := model_type_of(source, revision)) != "llava":
        encoder_family(kind, alone=True)
    config = AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=False)
    whole: dict[str, Any] = {}
    if config.model_type == "llava":
        config = config.vision_config
        whole = {"config": config, "key_mapping": _IN_LLAVA}
    elif hasattr(config, "vision_config"):
        whole = {"key_mapping": _IN_TWO_TOWERS}
    family = ENCODERS[encoder_family(config.model_type, alone=True)]
    architecture = getattr(transformers, str(family.architecture))
    model: PreTrainedModel = load_pretrained(
        architecture,
        source,
        revision,
        # A pooling head is not run here, and some checkpoints lack one.
        optional=lambda name: name.startswith(("pooler.", "head.")),
        dtype=dtype,
        **whole,
    )
    return model
