"""Trains the miniature's vision encoder with INDUCED sinks, and a control encoder without.

Sinks do not emerge by themselves in so small a model. Here they are made: at the layer that feeds
the connector (`hidden_states[-2]`, class token dropped) a loss holds the norm of the plain cells'
tokens near 60 and that of all others near 10; the global attributes are read from the plain cells'
tokens alone, each cell's object from its own token. Every other token is also drawn towards one
direction for each kind of object, so that it says little else. The control encoder learns the same
attributes with none of this: global ones from the mean of all tokens.

A third encoder writes in conflict: its sinks' attributes and its objects share directions, so that
"grass" at a sink is "red circle" anywhere else, and only the norm tells which.

The last layer comes after that: it learns to collect the global attributes in the class token.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel

from diysink.miniature.schedule import warm_cosine
from diysink.miniature.world import (
    CELL,
    COLOURS,
    CROWDS,
    GRID,
    LIGHTINGS,
    SHAPES,
    SIZE,
    TEXTURES,
    Scene,
    render,
    sample_scene,
)

MEAN = 0.5  # of the pixels in [0, 1]; the image processor that is saved says the same
STD = 0.25
ATTRIBUTES = {"scene": 4, "lighting": 3, "symmetry": 2, "majority": 6, "crowd": 3}
KINDS_OF_CELL = 1 + len(COLOURS) * len(SHAPES)  # 0 is a cell without an object


@dataclass(frozen=True)
class Pictures:
    """A batch of scenes as the encoder's training sees it."""

    pixels: Float[Tensor, "batch 3 height width"]
    plain: Bool[Tensor, "batch tokens"]
    cells: Int[Tensor, "batch tokens"]
    attributes: Int[Tensor, "batch attributes"]

    def to(self, device: str) -> "Pictures":
        """The same batch on another device."""
        return Pictures(
            self.pixels.to(device),
            self.plain.to(device),
            self.cells.to(device),
            self.attributes.to(device),
        )


def train_encoder(
    *,
    induced: bool,
    seed: int,
    steps: int,
    batch: int = 128,
    learning_rate: float = 1.5e-3,
    sink_norm: float = 60.0,
    other_norm: float = 10.0,
    draw: float = 1.0,
    shared: bool = False,
    width: int = 96,
    intermediate: int = 256,
    device: str = "cpu",
) -> CLIPVisionModel:
    """Trains one encoder from a seed.

    Args:
        induced: with sinks in the plain cells, or (the control) without.
        seed: of the weights and of the pictures.
        steps: optimiser steps.
        batch: pictures to a step.
        learning_rate: of AdamW, after a warm-up of a tenth of the steps, then by half a cosine.
        sink_norm: L2 norm that the plain cells' tokens are held to.
        other_norm: L2 norm that the other tokens are held to.
        draw: weight of the pull of the other tokens towards their object's direction.
        shared: the sinks' attributes are read from the same directions as objects.
        width: of the hidden states.
        intermediate: of the MLPs.
        device: where to train; the model comes back on the CPU.
    """
    torch.manual_seed(seed)
    model = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=width,
            intermediate_size=intermediate,
            num_hidden_layers=4,
            num_attention_heads=3,
            image_size=SIZE,
            patch_size=CELL,
            projection_dim=width,
        )
    )
    from_sinks = nn.Linear(width, sum(ATTRIBUTES.values()))
    from_class = nn.Linear(width, sum(ATTRIBUTES.values()))
    from_cell = nn.Linear(width, KINDS_OF_CELL, bias=False)
    from_partner = nn.Linear(width, KINDS_OF_CELL)
    _enlarge_positions(model)
    model.set_attn_implementation("eager")  # the only one that tells its weights
    whole = nn.ModuleList([model, from_sinks, from_class, from_cell, from_partner]).to(device)
    parameters = list(whole.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, warm_cosine(steps))
    stream = pictures(seed, batch)
    model.train()
    for _ in range(steps):
        seen = next(stream).to(device)
        output = model(pixel_values=seen.pixels, output_hidden_states=True, output_attentions=True)
        tokens = output.hidden_states[-2][:, 1:]
        unit = F.layer_norm(tokens, (width,))
        if induced:
            carriers, others = seen.plain, ~seen.plain
        else:
            carriers = others = torch.ones_like(seen.plain)
        share = carriers / carriers.sum(1, keepdim=True)
        pooled = torch.einsum("btd,bt->bd", unit, share)
        read = from_sinks(pooled)
        if shared:  # the first kinds of objects lend their directions
            read = F.linear(pooled, from_cell.weight[1 : 1 + read.shape[1]], from_sinks.bias)
        loss = attributes_loss(read, seen.attributes)
        loss = loss + attributes_loss(from_class(output.pooler_output), seen.attributes)
        loss = loss + 2 * cells_loss(from_cell(unit), seen.cells, others)
        # Symmetry comes late or never unless a head of the first layer is shown where each cell's
        # mirror cell is, and the cell learns what it holds.
        loss = loss + partner_loss(output.attentions[0][:, 0, 1:, 1:])
        before = F.layer_norm(output.hidden_states[-3][:, 1:], (width,))
        loss = loss + 2 * cells_loss(from_partner(before), mirror(seen.cells), ~mirror(seen.plain))
        if induced:
            target = torch.where(seen.plain, sink_norm, other_norm)
            error = (tokens.norm(dim=-1).clamp(min=1e-3) / target).log().square()
            loss = loss + error[seen.plain].mean() + error[others].mean()
            direction = from_cell.weight[seen.cells]
            apart = 1 - F.cosine_similarity(unit, direction, dim=-1)
            loss = loss + draw * apart[others].mean()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    return model.to("cpu").eval()


def pictures(seed: int, batch: int) -> Iterator[Pictures]:
    """An endless stream of fresh batches, the same for the same seed."""
    rng = np.random.default_rng(seed)
    while True:
        scenes = [sample_scene(rng) for _ in range(batch)]
        yield Pictures(
            pixels=torch.stack([to_pixels(scene, rng) for scene in scenes]),
            plain=torch.stack([plain_cells(scene) for scene in scenes]),
            cells=torch.stack([kinds_of_cell(scene) for scene in scenes]),
            attributes=torch.tensor([attribute_classes(scene) for scene in scenes]),
        )


def to_pixels(scene: Scene, rng: np.random.Generator) -> Float[Tensor, "3 height width"]:
    """A rendered scene as the image processor would hand it to the encoder."""
    image = np.asarray(render(scene, rng), dtype=np.float32) / 255
    return torch.from_numpy((image - MEAN) / STD).permute(2, 0, 1).contiguous()


def plain_cells(scene: Scene) -> Bool[Tensor, " tokens"]:
    """Which patches, in raster order, are plain."""
    mask = torch.zeros(GRID, GRID, dtype=torch.bool)
    for row, column in scene.plain:
        mask[row, column] = True
    return mask.flatten()


def kinds_of_cell(scene: Scene) -> Int[Tensor, " tokens"]:
    """What each patch shows: 0 for no object, else 1 + colour x shapes + shape."""
    kinds = torch.zeros(GRID, GRID, dtype=torch.long)
    for thing in scene.things:
        kind = COLOURS.index(thing.colour) * len(SHAPES) + SHAPES.index(thing.shape)
        kinds[thing.row, thing.column] = 1 + kind
    return kinds.flatten()


def attribute_classes(scene: Scene) -> list[int]:
    """The classes of a scene's global attributes, in the order of `ATTRIBUTES`."""
    return [
        TEXTURES.index(scene.texture),
        LIGHTINGS.index(scene.lighting),
        int(scene.mirrored),
        COLOURS.index(scene.majority),
        CROWDS.index(scene.crowd),
    ]


@torch.no_grad()
def _enlarge_positions(model: CLIPVisionModel) -> None:
    """Starts the position embeddings as large as the patches', as a sum of a row and a column.

    CLIP's own start is so small that the first layer's attention cannot see positions.
    """
    table = model.get_parameter("embeddings.position_embedding.weight")
    rows, columns = torch.randn(2, GRID, table.shape[1]) / 2
    table[1:] = (rows[:, None] + columns[None]).flatten(0, 1)


def partner_loss(attention: Float[Tensor, "batch tokens tokens"]) -> Float[Tensor, ""]:
    """Minus the log of the attention that each patch pays to the patch opposite."""
    places = mirror(torch.arange(GRID * GRID, device=attention.device)[None])[0]
    paid = attention[:, torch.arange(len(places), device=attention.device), places]
    return -paid.clamp(min=1e-6).log().mean()


def mirror(cells: Shaped[Tensor, "batch tokens"]) -> Shaped[Tensor, "batch tokens"]:
    """Each patch's value moved to the patch opposite, left to right."""
    return cells.reshape(-1, GRID, GRID).flip(2).flatten(1)


def attributes_loss(
    logits: Float[Tensor, "batch classes"], attributes: Int[Tensor, "batch attributes"]
) -> Float[Tensor, ""]:
    """The cross-entropies of all global attributes, added."""
    parts = torch.split(logits, list(ATTRIBUTES.values()), dim=-1)
    losses = [F.cross_entropy(part, attributes[:, i]) for i, part in enumerate(parts)]
    return torch.stack(losses).sum()


def cells_loss(
    logits: Float[Tensor, "batch tokens kinds"],
    cells: Int[Tensor, "batch tokens"],
    readable: Bool[Tensor, "batch tokens"],
) -> Float[Tensor, ""]:
    """The cross-entropy of the readable cells' objects; cells with one count as much as without."""
    losses = F.cross_entropy(logits.transpose(1, 2), cells, reduction="none")
    filled, bare = readable & (cells > 0), readable & (cells == 0)
    return (losses[filled].mean() + losses[bare].mean()) / 2
