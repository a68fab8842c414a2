"""Rank 0 tells, the others follow, and nobody waits for a rank 0 that is gone."""

import threading
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from torch.distributed import HashStore

from diysink.training.ranks import LeaderLostError, Ranks, launcher

made = []


def note(what):
    made.append((threading.current_thread().name, what))


class Started(TorchElasticEnvironment):
    def __init__(self, rank, size):
        super().__init__()
        self._rank, self._size = rank, size

    def global_rank(self):
        return self._rank

    def world_size(self):
        return self._size


def team(size, store=None):
    """All ranks of a job, as if they had met."""
    store = HashStore() if store is None else store
    found = []
    for rank in range(size):
        found.append(Ranks(Started(rank, size)))
        found[-1]._store = store
    return found


def test_calls_are_made_in_turn_until_rank_0_dismisses():
    made.clear()
    first, *others = team(3)
    threads = [threading.Thread(target=each.follow, name=str(each.rank)) for each in others]
    for thread in threads:
        thread.start()
    first.tell(note, "a")
    first.tell(note, "b")
    first.dismiss()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    for rank in ("1", "2"):
        assert [what for who, what in made if who == rank] == ["a", "b"]
    assert len(made) == 4
    assert (first.rank, first.size) == (0, 3)


def test_what_a_call_raises_ends_the_follower():
    first, second = team(2)
    first.tell(int, "no number")
    with pytest.raises(ValueError, match="no number"):
        second.follow()


def test_a_rank_0_that_is_gone_is_said_to_be():
    def check(keys):
        raise torch.distributed.DistNetworkError("connection reset")

    _, second = team(2, SimpleNamespace(check=check))
    with pytest.raises(LeaderLostError, match="rank 1 of 2"):
        second.follow()


@pytest.mark.parametrize(
    ("variables", "kind", "size"),
    [
        ({}, None, 0),
        ({"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "WORLD_SIZE": "4"}, "TorchElastic", 4),
        ({"SLURM_STEP_ID": "0", "SLURM_NTASKS": "8", "SLURM_PROCID": "3"}, "SLURM", 8),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, None, 0),  # a batch script, before srun
    ],
)
def test_what_started_this_process(monkeypatch, variables, kind, size):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_JOB_NAME", "diysink")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "4")
    found = launcher()
    if kind is None:
        assert found is None
        return
    assert type(found).__name__ == f"{kind}Environment"
    assert (found.world_size(), found.global_rank()) == (size, 3)
