"""Pixels to what enters a vision encoder's first block, for architectures where it takes more than
``model.embeddings(pixels)``; and what their blocks take beside hidden states.

A tower's parts are reached by name: only its own class would make them known to a type checker.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Pixels = Float[Tensor, "batch channels height width"]
States = Float[Tensor, "batch tokens dim"]


def plain(model: Any, pixels: Pixels) -> States:
    """The architecture's embeddings are all of it."""
    return model.embeddings(pixels)


def clip(model: Any, pixels: Pixels) -> States:
    """CLIP and its kin normalise before the first block."""
    return model.pre_layrnorm(model.embeddings(pixels))


def siglip2(model: Any, pixels: Pixels) -> States:
    """Cut into patches as SigLIP 2's image processor does, at a fixed size and without padding."""
    batch, channels, height, width = pixels.shape
    side: int = model.embeddings.patch_size
    rows, columns = height // side, width // side
    cut = pixels.reshape(batch, channels, rows, side, columns, side)
    patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)
    shapes = torch.tensor([[rows, columns]]).expand(batch, 2)
    return model.embeddings(patches, shapes)


def vit_mae(model: Any, pixels: Pixels) -> States:
    """All patches in raster order: ViT-MAE's own forward masks three of four, and shuffles them."""
    own = model.embeddings
    patches = own.patch_embeddings(pixels) + own.position_embeddings[:, 1:]
    first = own.cls_token + own.position_embeddings[:, :1]
    return torch.cat([first.expand(len(patches), -1, -1), patches], dim=1)


def radio(model: Any, pixels: Pixels) -> States:
    """RADIO normalises pixels itself."""
    return model.embeddings(model.input_conditioner(pixels))


def nothing(model: Any, pixels: Pixels) -> dict[str, Any]:
    """Blocks that take hidden states alone."""
    return {}


def dinov3_rotation(model: Any, pixels: Pixels) -> dict[str, Any]:
    """Rotary positions of DINOv3's patches."""
    return {"position_embeddings": model.rope_embeddings(pixels)}


def mlcd_rotation(model: Any, pixels: Pixels) -> dict[str, Any]:
    """Rotary positions of MLCD's patches, after the learned one of its class token."""
    rows, columns = (length // model.config.patch_size for length in pixels.shape[-2:])
    row = torch.arange(rows, device=pixels.device).repeat_interleave(columns)
    column = torch.arange(columns, device=pixels.device).repeat(rows)
    cos, sin = model.vision_rotary_embedding(pixels, torch.stack([row, column], dim=-1))
    first = torch.cat([model.class_pos_emb, model.class_pos_emb], dim=-1)
    return {"position_embeddings": [torch.cat([first.cos(), cos]), torch.cat([first.sin(), sin])]}


def beit_positions(model: Any, pixels: Pixels) -> dict[str, Any]:
    """BEiT's relative positions: each block's own, or one bias that all blocks share."""
    rows, columns = (length // model.config.patch_size for length in pixels.shape[-2:])
    shared = model.shared_position_bias
    bias = None if shared is None else shared((rows, columns))
    return {"attention_mask": bias, "resolution": pixels.shape[-2:]}
