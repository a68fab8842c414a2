"""A connector is added by its module and one line in `CONNECTORS`: nothing else knows its name."""

import pytest
import torch
from torch import nn

from diysink.connector import CONNECTORS, Connector
from diysink.model import Parts, assemble, load
from diysink.training import ConnectorTraining, EncodedRecords
from tests.pipelines.test_conf import changed, settings_of


class MeanConnector(Connector):
    """A toy: the sinks' mean and the nonsinks' mean, each repeated."""

    arrangement = "end"

    def __init__(self, in_dim, out_dim, *, repeats=2):
        super().__init__()
        self.repeats = repeats
        self.linear = nn.Linear(in_dim, out_dim)

    def forward(self, features, sinks):
        weights = torch.stack([sinks, ~sinks], 1).to(features.dtype)
        means = weights @ features / weights.sum(-1, keepdim=True).clamp(min=1)
        which = torch.tensor([True, False], device=sinks.device).repeat_interleave(self.repeats)
        tokens = self.linear(means).repeat_interleave(self.repeats, 1)
        return tokens, which.expand(len(tokens), -1)

    def tokens_out(self, tokens):
        return 2 * self.repeats


def test_a_connector_from_outside_trains_saves_loads_and_is_a_setting(
    parts, tiny_records, tmp_path, monkeypatch
):
    if "llama" not in parts.name:
        pytest.skip("connectors do not depend on the pair")
    monkeypatch.setitem(CONNECTORS, "mean", MeanConnector)
    names = Parts(encoder=str(parts / "encoder"), language=str(parts / "language"))
    made = assemble(names, None, connector="mean", connector_options={"repeats": 3})
    assert (made.model.config.arrangement, made.model.config.image_seq_length) == ("end", 6)

    data = EncodedRecords(tiny_records, made.chat_encoder, made.image_processor)
    training = ConnectorTraining(made.model, learning_rate=1e-2, max_steps=1)
    training.training_step(data.collate([data[0], data[1]]), 0).backward()
    assert made.model.model.multi_modal_projector.linear.weight.grad.any()

    made.save(tmp_path / "saved")
    loaded = load(tmp_path / "saved").model.model.multi_modal_projector
    assert (type(loaded), loaded.repeats) == (MeanConnector, 3)

    align = settings_of("base")["align"]
    mean = {"connector": "mean", "options": {"repeats": 3}}
    assert changed(align, connectors={"mine": mean}).kinds == {"mine": "mean"}
