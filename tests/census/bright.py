"""A tiny encoder with one state channel that is a patch's brightness, and images for it."""

import numpy as np
import torch
from PIL import Image
from transformers import ViTConfig, ViTModel

SIZE, PATCH, DIM, HIDDEN, BLOCK, UNIT = 32, 8, 32, 1024, 1, 37
GREEN = 1  # the channel of states that says that a patch is bright


def bright_model(planted):
    """One state channel is a patch's brightness; a unit may turn it into a large norm."""
    torch.manual_seed(0)
    model = ViTModel(
        ViTConfig(
            image_size=SIZE, patch_size=PATCH, hidden_size=DIM, intermediate_size=HIDDEN,
            num_hidden_layers=3, num_attention_heads=4,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        tower = model.base_model
        projection = tower.embeddings.patch_embeddings.projection
        projection.weight[GREEN] = 4.0 / projection.weight[GREEN].numel()
        projection.bias[GREEN] = -1.0  # a dim patch is as far below 0 as a bright one is above
        for block in tower.layers:
            block.mlp.fc1.weight.normal_(std=0.3)
            block.mlp.fc1.weight[:, GREEN] = 0
        if planted:
            # All else is told by the place, so that other units do the same at bright patches.
            tower.embeddings.position_embeddings.normal_(std=0.5)
            tower.embeddings.position_embeddings[..., GREEN] = 0
            mlp = tower.layers[BLOCK].mlp
            mlp.fc1.weight[UNIT] = 0
            mlp.fc1.weight[UNIT, GREEN] = 1.0
            mlp.fc2.weight[:, UNIT] = 8.0
    return model


def images(count=48, bright=True):
    """Dim noise, with one bright patch at another place each time."""
    made = []
    for number in range(count):
        rng = np.random.default_rng((5, number))
        pixels = rng.integers(0, 130, (SIZE, SIZE, 3)).astype(np.uint8)
        row, column = PATCH * rng.integers(0, SIZE // PATCH, 2)
        if bright:
            pixels[row : row + PATCH, column : column + PATCH] = 255
        made.append(Image.fromarray(pixels))
    return made
