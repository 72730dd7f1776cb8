"""The same samples in the same steps, whoever loads them."""

import random
import signal
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import Program

from geometry.engine import DataStream, FixedBatchSampler, TokenBudgetSampler
from geometry.engine.loader import to_device
from geometry.errors import InputError

CPU = torch.device("cpu")


class Draws:
    """Every sample draws from all the global generators."""

    def __getitem__(self, request):
        h, w = request.image_size
        return torch.rand(request.views, h // 14, w // 14) + random.random() + np.random.rand()  # noqa: NPY002


def sampler():
    return TokenBudgetSampler(tokens=64, image_sizes=[(28, 28), (42, 28)], views=(1, 4), batch_multiple=2)


def stream(workers=0, start=0, rank=0, world_size=1, accumulate=1, stop=6):
    data = DataStream(Draws(), sampler(), workers=workers)
    steps = data.steps(
        start, stop, seed=5, rank=rank, world_size=world_size, accumulate=accumulate, device=CPU
    )
    return [[batch for _, batch, _ in parts] for parts in steps]


def assert_equal(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert torch.equal(torch.cat(x), torch.cat(y))


def test_workers_change_nothing(unchecked):  # checks draw from the same numbers
    state = torch.get_rng_state(), random.getstate()
    alone = stream()
    assert_equal(alone, stream(workers=2))
    assert torch.equal(state[0], torch.get_rng_state())  # training's own numbers are not touched
    assert state[1] == random.getstate()
    assert len({tuple(parts[0].shape) for parts in alone}) > 1  # shapes did vary


def test_starting_later_continues_the_sequence():
    assert_equal(stream()[4:], stream(start=4))


def test_processes_and_accumulation_cut_the_same_global_batch():
    whole = stream()
    ranks = [stream(rank=r, world_size=2) for r in range(2)]
    assert_equal(whole, [a + b for a, b in zip(*ranks)])
    assert_equal(whole, stream(accumulate=2))


def test_an_ordinary_dataset_and_its_collate_work():
    class Words(list):
        collate = staticmethod("-".join)

    data = DataStream(Words(["a", "b", "c"]), FixedBatchSampler(batch_size=3))
    (parts,) = data.steps(0, 1, seed=0, rank=0, world_size=1, accumulate=1, device=CPU)
    ((samples, batch, _),) = parts
    assert samples == 3
    assert sorted(batch.split("-")) == ["a", "b", "c"]


def test_an_empty_dataset_is_refused():
    with pytest.raises(InputError, match="empty"):
        DataStream([], FixedBatchSampler(batch_size=1))


def test_containers_move_and_other_values_stay():
    Pair = namedtuple("Pair", "a b")
    moved = to_device({"x": Pair(torch.zeros(2), ["name", torch.ones(1)])}, torch.device("meta"))
    assert moved["x"].a.device.type == "meta"
    assert moved["x"].b[0] == "name"
    assert moved["x"].b[1].device.type == "meta"


KILLED = """
import os, torch
from geometry.engine import DataStream, FixedBatchSampler
class Workers:
    def __getitem__(self, request):
        return os.getpid()
if __name__ == "__main__":
    data = DataStream(Workers(), FixedBatchSampler(batch_size=1), workers=2, start_method="forkserver")
    place = dict(seed=0, rank=0, world_size=1, accumulate=1, device=torch.device("cpu"))
    for ((_, worker, _),) in data.steps(0, 10**6, **place):
        print(int(worker), flush=True)
"""


@pytest.mark.extended
def test_workers_end_with_a_training_that_was_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    program = Program([tmp_path / "killed.py"], tmp_path / "said.txt")
    program.wait_for(lambda: len(set(program.said.split())) > 1)
    workers = {int(word) for word in program.said.split()}
    program.send_signal(signal.SIGKILL)  # to it alone
    until = time.monotonic() + 10
    while any(lives(worker) for worker in workers):
        assert time.monotonic() < until, "workers outlive the training"
        time.sleep(0.02)
    program.wait()


def lives(process):
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())  # of one that nobody has waited for: empty
    except OSError:
        return False
