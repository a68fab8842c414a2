"""A short form of `benchmarks.robustness.engines`: whatever dies, the statistics are the same."""

import random

import pytest

from benchmarks.robustness.engines import Campaign, specs_of, write_records
from diysink.artifact import Workspace
from diysink.extraction import run_shards


@pytest.mark.slow
def test_a_worker_a_node_and_the_driver_are_killed_on_three_nodes(tmp_path):
    records = write_records(tmp_path / "records", 600)
    here = run_shards(specs_of(records, 20), Workspace(tmp_path / "here", "one", 1))
    assert here.images == 600
    campaign = Campaign(records, 20, tmp_path)
    try:
        digest = campaign.run("killed", ["worker", "node", "driver"], random.Random(0))
    finally:
        campaign.close()
    assert digest == here.digest
    assert campaign.killed.items() >= {"worker": 1, "node": 1, "driver": 1}.items()
