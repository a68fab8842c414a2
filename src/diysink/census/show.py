"""What the page shows of single images."""

from io import BytesIO
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from PIL import Image
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from diysink.architectures import Attended
from diysink.census.examples import MOST_CELLS, Example
from diysink.census.layer import Walk

KEPT = 32  # dimensions of a state


@torch.no_grad()
def example_of(
    walk: Walk,
    name: str,
    pixels: Float[Tensor, "1 channels height width"],
    taus: list[float | None],
    processor: Any,
) -> Example:
    """One image under every layer.

    Args:
        walk: of the encoder.
        name: of the image.
        pixels: as the encoder is given them.
        taus: of each layer from 0; None: no patch is a sink.
        processor: of the checkpoint, whose mean and scale are undone.
    """
    grid = walk.encoder.grid(pixels)
    cells = min(MOST_CELLS, grid[0]), min(MOST_CELLS, grid[1])
    patches, prefix = grid[0] * grid[1], walk.encoder.prefix
    blank = torch.ones(1, patches, device=pixels.device)
    flow = torch.eye(prefix + patches, device=pixels.device)
    norms, received, heads, states, relevance = ([] for _ in range(5))
    for seen in walk(pixels, blank, [name]):
        if seen.attended is not None and seen.heads is not None:
            flow = (mean_attention(seen.attended)[0] @ flow + flow) / 2
            even = seen.heads.received[0, :, prefix:] * flow.shape[0]
        else:
            even = torch.full((walk.encoder.heads, patches), torch.nan)
        norms.append(seen.norms[0])
        heads.append(even)
        received.append(even.mean(0))
        states.append(projected(seen.patches[0].float()))
        image = flow[prefix:, prefix:].reshape(patches, 1, *grid)
        relevance.append(adaptive_avg_pool2d(image, cells).flatten(1))
    every = torch.stack(norms).cpu()
    limits = torch.tensor([torch.inf if tau is None else tau for tau in taus])
    return Example(
        name=name,
        image=picture(pixels[0], processor),
        grid=grid,
        norms=every.numpy(),
        received=stacked(received),
        received_by_head=stacked(heads),
        sinks=(every >= limits[:, None]).numpy(),
        states=stacked(states),
        relevance=stacked(relevance),
        cells=cells,
    )


def mean_attention(seen: Attended) -> Float[Tensor, "batch tokens tokens"]:
    """Attention of a block, averaged over heads; one head at a time is in memory."""
    heads = seen.query.shape[1]
    shared = heads // seen.key.shape[1]
    bias = None if seen.bias is None else seen.bias.expand(-1, heads, -1, -1)
    mean = torch.zeros((), device=seen.query.device)
    for head in range(heads):
        scores = seen.query[:, head] @ seen.key[:, head // shared].mT * seen.scaling
        if bias is not None:
            scores = scores + bias[:, head]
        mean = mean + scores.softmax(-1, dtype=torch.float32) / heads
    return mean


def projected(states: Float[Tensor, "patches dim"]) -> Float[Tensor, "patches kept"]:
    """States on their leading singular directions, which keep lengths and cosines best."""
    _, _, directions = torch.linalg.svd(states, full_matrices=False)
    return states @ directions[:KEPT].T


def picture(pixels: Float[Tensor, "channels height width"], processor: Any) -> bytes:
    """The image as the encoder sees it, as a JPEG."""
    mean, scale = (
        torch.tensor(getattr(processor, key, None) or default, device=pixels.device)
        for key, default in (("image_mean", [0.0]), ("image_std", [1.0]))
    )
    seen = pixels.float() * scale[:, None, None] + mean[:, None, None]
    values = (seen.clamp(0, 1) * 255).round().byte().cpu().permute(1, 2, 0).numpy()
    file = BytesIO()
    Image.fromarray(values).convert("RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


def stacked(parts: list[Tensor]) -> Float[ndarray, "layers ..."]:
    """Layers as one array in float32."""
    every: Float[ndarray, "layers ..."] = np.stack([part.float().cpu().numpy() for part in parts])
    return every
