import numpy as np
import pytest
import torch
from torch.nn import functional as F

from diysink.miniature.build import image_processor
from diysink.miniature.encoder import (
    attribute_classes,
    attributes_loss,
    cells_loss,
    kinds_of_cell,
    mirror,
    partner_loss,
    pictures,
    plain_cells,
    to_pixels,
    train_encoder,
)
from diysink.miniature.figures import probe
from diysink.miniature.schedule import warm_cosine
from diysink.miniature.world import Scene, Thing, render, sample_scene

SCENE = Scene(
    texture="water",
    lighting="bright",
    mirrored=False,
    things=(Thing(0, 1, "orange", "square"), Thing(5, 5, "red", "circle")),
    plain=((0, 0), (1, 2)),
)


def test_the_image_processor_makes_the_pixels_of_training() -> None:
    scene = sample_scene(np.random.default_rng(0))
    trained = to_pixels(scene, np.random.default_rng(1))
    image = render(scene, np.random.default_rng(1))
    used = image_processor()(images=image, return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(used, trained)


def test_labels_by_hand() -> None:
    assert plain_cells(SCENE).nonzero().flatten().tolist() == [0, 8]
    kinds = kinds_of_cell(SCENE)
    assert kinds.nonzero().flatten().tolist() == [1, 35]
    assert kinds[[1, 35]].tolist() == [1 + 1 * 4 + 1, 1]
    assert attribute_classes(SCENE) == [2, 2, 0, 0, 0]


def test_mirror_by_hand() -> None:
    cells = torch.arange(36)[None]
    assert mirror(cells)[0, :7].tolist() == [5, 4, 3, 2, 1, 0, 11]
    assert torch.equal(mirror(mirror(cells)), cells)


def test_partner_loss_is_least_where_all_attention_goes_across() -> None:
    across = torch.eye(36)[mirror(torch.arange(36)[None])[0]][None]
    even = torch.full((1, 36, 36), 1 / 36)
    assert partner_loss(across).item() == 0
    assert partner_loss(even).item() == pytest.approx(np.log(36))


def test_losses_of_clueless_heads_are_the_entropies_of_chance() -> None:
    attributes = torch.tensor([attribute_classes(SCENE)])
    chance = sum(np.log(n) for n in (4, 3, 2, 6, 3))
    assert attributes_loss(torch.zeros(1, 18), attributes).item() == pytest.approx(chance, rel=1e-5)
    cells = kinds_of_cell(SCENE)[None]
    loss = cells_loss(torch.zeros(1, 36, 25), cells, torch.ones(1, 36, dtype=torch.bool))
    assert loss.item() == pytest.approx(np.log(25), rel=1e-5)


def test_unreadable_cells_do_not_count() -> None:
    cells = kinds_of_cell(SCENE)[None]
    logits = F.one_hot(cells, 25) * 100.0
    logits[0, 1] = 0
    readable = torch.ones(1, 36, dtype=torch.bool)
    assert cells_loss(logits, cells, readable).item() > 0.5
    readable[0, 1] = False
    assert cells_loss(logits, cells, readable).item() == pytest.approx(0)


def test_pictures_are_a_function_of_the_seed() -> None:
    first, again, other = (next(pictures(seed, 2)).pixels for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("induced", [True, False])
def test_training_is_a_function_of_the_seed(induced: bool) -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        return train_encoder(
            induced=induced, seed=seed, steps=2, batch=4, width=24, intermediate=16
        ).state_dict()

    first, again, other = trained(0), trained(0), trained(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_probe_reads_what_is_there_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(0)
    answers = torch.randint(3, (600,), generator=generator)
    told = F.one_hot(answers, 3) + 0.1 * torch.randn(600, 3, generator=generator)
    untold = torch.randn(600, 3, generator=generator)
    half = slice(0, 300), slice(300, 600)
    reads = [
        probe(x[half[0]], answers[half[0]], x[half[1]], answers[half[1]]) for x in (told, untold)
    ]
    assert reads[0] > 0.99
    assert reads[1] < 0.5


def test_the_learning_rate_rises_then_falls_to_nothing() -> None:
    factor = warm_cosine(100)
    assert [factor(0), factor(9), factor(10)] == pytest.approx([0.1, 1, 1])
    assert factor(55) == pytest.approx(0.5)
    assert factor(100) == pytest.approx(0)
