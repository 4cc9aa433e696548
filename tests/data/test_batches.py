"""The order of training depends on seed and epoch alone; processes share batches without overlap."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdeflow.data import GridSamples, WellReader
from pdeflow.data.batches import BatchLoader, BatchOrder
from pdeflow.errors import InvalidInput

from .samples import write_steady

sizes = {"n": st.integers(1, 60), "batch": st.integers(1, 9), "world": st.integers(1, 4)}


def batches(order: BatchOrder) -> list[list[int]]:
    return [batch.tolist() for batch in order]


@given(**sizes)
def test_evaluation_sees_each_sample_once_in_as_many_batches_everywhere(n, batch, world):
    if n < world:
        return
    ranks = [batches(BatchOrder(n, batch, rank=rank, world=world)) for rank in range(world)]
    assert len({len(own) for own in ranks}) == 1
    assert sorted(i for own in ranks for part in own for i in part) == list(range(n))
    assert all(part for own in ranks for part in own)
    assert all(len(BatchOrder(n, batch, rank=r, world=world)) == len(own) for r, own in enumerate(ranks))


@given(**sizes, epoch=st.integers(0, 5))
def test_training_shares_are_equal_and_disjoint(n, batch, world, epoch):
    if n < batch * world:
        return
    ranks = []
    for rank in range(world):
        order = BatchOrder(n, batch, shuffle=True, seed=3, rank=rank, world=world)
        order.set_epoch(epoch)
        ranks.append(batches(order))
    seen = [i for own in ranks for part in own for i in part]
    assert len(seen) == len(set(seen))
    assert n - len(seen) < world
    for parts in zip(*ranks):
        assert len({len(part) for part in parts}) == 1
    # What the processes see together is what one process with the larger batch sees.
    single = BatchOrder(n, batch * world, shuffle=True, seed=3)
    single.set_epoch(epoch)
    for parts, whole in zip(zip(*ranks), batches(single)):
        assert set().union(*parts) <= set(whole)


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        made = BatchOrder(20, 4, shuffle=True, seed=seed)
        made.set_epoch(epoch)
        return batches(made)

    torch.manual_seed(0)
    first = order(0, 5)
    torch.manual_seed(1)
    assert order(0, 5) == first
    assert order(0, 6) != first
    assert order(1, 5) != first


def test_too_few_samples_are_refused():
    with pytest.raises(InvalidInput, match="smaller than a batch"):
        BatchOrder(15, 16, shuffle=True)
    with pytest.raises(InvalidInput, match="smaller than a batch"):
        BatchOrder(15, 8, shuffle=True, world=2)
    with pytest.raises(InvalidInput, match="as many processes"):
        BatchOrder(2, 8, world=3)
    assert batches(BatchOrder(3, 16)) == [[0, 1, 2]]


@pytest.fixture
def samples(tmp_path):
    write_steady(tmp_path / "d.h5", n=20)
    return GridSamples([WellReader(tmp_path / "d.h5")], np.arange(20), ["a"], ["u"])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_it_was_saved(samples, workers):
    def loader(epoch):
        made = BatchLoader(samples, BatchOrder(20, 3, shuffle=True, seed=1), num_workers=workers)
        made.sampler.set_epoch(epoch)
        return made

    whole = [batch["index"].tolist() for batch in loader(4)]
    first = loader(4)
    running = iter(first)
    for _ in range(3):
        next(running)
    state = first.state_dict()  # workers have prefetched more than three by now
    second = loader(0)
    second.load_state_dict(state)
    second.sampler.set_epoch(4)
    assert [batch["index"].tolist() for batch in second] == whole[3:]
    second.sampler.set_epoch(5)
    assert [b["index"].tolist() for b in second] == [b["index"].tolist() for b in loader(5)]


def test_a_state_of_another_epoch_or_of_a_whole_one_skips_nothing(samples):
    loader = BatchLoader(samples, BatchOrder(20, 3, shuffle=True, seed=1))
    whole = list(loader)
    assert len(whole) == len(loader) == 7
    other = BatchLoader(samples, BatchOrder(20, 3, shuffle=True, seed=1))
    other.load_state_dict(loader.state_dict())
    other.sampler.set_epoch(1)
    assert len(list(other)) == 7


def test_a_state_that_these_settings_would_order_differently_is_refused(samples):
    loader = BatchLoader(samples, BatchOrder(20, 3, shuffle=True, seed=1))
    next(iter(loader))
    state = loader.state_dict()
    for settings, key in (((20, 4, 1), "batch_size"), ((20, 3, 2), "seed"), ((19, 3, 1), "samples")):
        n, batch, seed = settings
        with pytest.raises(InvalidInput, match=key):
            BatchLoader(samples, BatchOrder(n, batch, shuffle=True, seed=seed)).load_state_dict(state)


def test_loading_draws_nothing_from_the_global_stream(samples):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    for workers in (0, 1):
        list(BatchLoader(samples, BatchOrder(20, 5), num_workers=workers))
    assert torch.equal(torch.rand(3), expected)


def test_memory_and_disk_give_the_same_batches(samples):
    order = BatchOrder(20, 6, shuffle=True)
    lazy = list(BatchLoader(samples, order))
    assert not samples.in_memory
    samples.load()
    assert samples.in_memory
    for one, other in zip(lazy, BatchLoader(samples, order)):
        for key in ("input", "target", "index"):
            assert torch.equal(one[key], other[key])
