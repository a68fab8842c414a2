"""Every connector trains: the loss falls, and of two parts each learns from its own tokens."""

import pytest
import torch

from diysink.connector import CONNECTORS
from diysink.selection import Choice
from diysink.sinks import token_norms
from diysink.training import (
    ConnectorTraining,
    EncodedRecords,
    FitSettings,
    LanguageTraining,
    RecordsDataModule,
    fit,
)
from tests.tiny_models import assemble_tiny

SETTINGS = FitSettings(accelerator="cpu", every_n_train_steps=100, enable_progress_bar=False)


@pytest.fixture(autouse=True)
def _one_pair_is_enough(parts):
    if "llama" not in parts.name:
        pytest.skip("connectors do not depend on the pair")


def build(parts, kind):
    made = assemble_tiny(parts, connector=kind, arrangement="front")
    torch.manual_seed(1)
    norms = token_norms(made.model.model.visual_states(torch.randn(8, 3, 12, 12)).detach())
    made.model.config.tau = float(norms.quantile(0.7))
    return made


def encoded(made, records):
    return EncodedRecords(records, made.chat_encoder, made.image_processor, cache_size=100)


def trained(training, data, folder, steps):
    rows = fit(
        training, RecordsDataModule(data, batch_size=8, num_batches=steps, seed=3), SETTINGS, folder
    )
    return [row["loss"] for row in rows]


@pytest.mark.parametrize("kind", CONNECTORS)
def test_the_loss_falls(parts, tiny_records, tmp_path, kind):
    made = build(parts, kind)
    training = ConnectorTraining(made.model, learning_rate=3e-2, max_steps=24, seed=3)
    before = {n: p.detach().clone() for n, p in made.model.named_parameters()}
    losses = trained(training, encoded(made, tiny_records), tmp_path, 24)
    assert sum(losses[-4:]) < sum(losses[:4])
    changed = {n for n, p in made.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert all(name.startswith("model.multi_modal_projector.") for name in changed)


def test_each_part_of_a_dual_resampler_learns_from_its_own_view(parts, tiny_records):
    made = build(parts, "dual-resampler")
    data = encoded(made, tiny_records)
    batch = data.collate([data[0], data[1]])
    training = ConnectorTraining(made.model, learning_rate=1e-2, max_steps=1)
    connector = made.model.model.multi_modal_projector
    for route, learns, rests in (
        ("sink", connector.sink, connector.nonsink),
        ("nonsink", connector.nonsink, connector.sink),
    ):
        connector.zero_grad()
        training.loss(batch, Choice.of([route] * 2)).backward()
        assert learns.queries.weight.grad.any()
        assert not rests.queries.weight.grad.any()


def test_the_second_stage_goes_on_from_a_resampler(parts, tiny_records, tmp_path):
    made = build(parts, "dual-resampler")
    training = LanguageTraining(made.model, learning_rate=1e-2, max_steps=16, seed=3)
    losses = trained(training, encoded(made, tiny_records), tmp_path / "fit", 16)
    assert sum(losses[-3:]) < sum(losses[:3])
    made.model = training.merged()
    made.save(tmp_path / "saved")
