"""Cards and examples made up for tests: a sink is planted, so that what the page says is known."""

import io

import numpy as np
from PIL import Image

from diysink.census.examples import Example


def make_card(layers=4, heads=2, grid=(4, 5), sinks_from=2, name="tiny"):
    """A card of an encoder whose norms rise at the layer ``sinks_from``."""

    def metrics(layer):
        late = layer >= sinks_from
        values = {
            "norm_median": 2 + 0.5 * layer,
            "norm_p99": 40 if late else 3 + 0.5 * layer,
            "norm_max": 52 if late else 4 + 0.5 * layer,
            "sinks_per_image": 1.5 if late else 0,
            "tau": 20 if late else None,
            "concentration": None if layer == 0 else 80 if late else 3,
            "spike": 300 if late else 8,
            "received_class": None if layer == 0 else 0.1 if late else 0.8,
            "received_patch": None if layer == 0 else 0.9 if late else 0.2,
            "event": None if layer == 0 else 0.6 if late else 0.05,
            "nop": None if layer == 0 else 0.5 if late else 0.03,
            "broadcast": None if layer == 0 else 0.1 if late else 0,
            "value_ratio": 0.12 if late else None,
            "stable_rank": None if layer == 0 else 1.8,
            "largest_norm_places": 0.93 if late else None,
            "largest_norm_contrast": 0.41 if late else None,
            "same_sinks": 0.95 if late else None,
            "same_others": 0.3 + 0.01 * layer,
            "another_number": 1234.5,
        }
        return {
            name: None if v is None else {"value": v, "low": 0.93 * v, "high": 1.08 * v}
            for name, v in values.items()
        }

    return {
        "version": 1,
        "model": {
            "name": name, "family": "dinov2", "layers": layers - 1, "heads": heads, "width": 384,
            "patch": [14, 14], "grid": list(grid), "prefix": ["class"],
        },
        "images": {"count": 64, "replicates": 200},
        "verdict": {
            "lines": [
                f"{name} has sinks on plain background from layer {sinks_from} on.",
                "They are 1.5 of the patches of an image and receive 80 times the attention.",
                "Most heads that attend to them then add nothing.",
            ],
            "types": [
                {
                    "type": "background",
                    "layers": list(range(sinks_from, layers)),
                    "evidence": [
                        "Norms part into two groups at 20 [18.6, 21.6].",
                        "They sit at 0.93 times as many places as random ones would.",
                        "Pixel contrast under them is 0.41 times that of other patches.",
                    ],
                }
            ],
        },
        "layers": [{"layer": layer, "metrics": metrics(layer)} for layer in range(layers)],
    }  # fmt: skip


def make_example(
    name="one.jpg", seed=0, layers=4, heads=2, grid=(4, 5), sinks_from=2, sink=7, cells=(4, 5),
    kept=6, norm=50.0,
):  # fmt: skip
    """An example whose patch ``sink`` has this norm, and the attention, from ``sinks_from`` on."""
    rng = np.random.default_rng(seed)
    patches, count = grid[0] * grid[1], cells[0] * cells[1]
    ground = rng.normal(0, 1, patches)
    norms = 2 + 0.4 * np.arange(layers)[:, None] + rng.uniform(0, 0.8, (layers, patches))
    heads_received = rng.lognormal(-0.5, 0.4, (layers, heads, patches))
    states = rng.normal(0, 1, (layers, patches, kept)) + 0.8 * ground[:, None]
    masks = np.zeros((layers, patches), dtype=bool)
    sharpness = np.linspace(1, 0.2, layers)
    relevance = rng.uniform(0.2, 1, (layers, patches, count)) / count
    for layer in range(layers):
        own = np.arange(patches)
        row, column = np.divmod(own, grid[1])
        cell = (row * cells[0] // grid[0]) * cells[1] + column * cells[1] // grid[1]
        relevance[layer, own, cell] += sharpness[layer]
        if layer >= sinks_from:
            masks[layer, sink] = True
            norms[layer, sink] = norm
            heads_received[layer, 1:, sink] = 12.0
            states[layer, sink, 0] += 40
            relevance[layer, :, cell[sink]] += 0.15
    heads_received[0] = np.nan
    pixels = rng.normal(0, 12, (grid[0] * 14, grid[1] * 14, 3)) + 128
    pixels += 60 * np.sin(np.arange(grid[1] * 14) / 17 + seed)[None, :, None]
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG")
    return Example(
        name=name, image=file.getvalue(), grid=grid, norms=norms.astype(np.float32),
        received=heads_received.mean(1), received_by_head=heads_received, sinks=masks,
        states=states, relevance=relevance, cells=cells,
    )  # fmt: skip
