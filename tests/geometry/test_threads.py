"""Pieces of work on Python threads, in each of which PyTorch uses one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from geometry import threads as threads_module
from geometry.threads import evenly, in_order, share


@pytest.fixture(params=(1, 3))
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_item_is_done_once_and_threads_stay_as_they_were(threads):
    done, used = torch.zeros(40), set()

    def add(k: int) -> None:
        used.add(torch.get_num_threads())
        done[k] += 1

    share(add, range(40))
    assert (done == 1).all()
    assert used == {1}
    assert torch.get_num_threads() == threads
    later: list[int] = []
    new = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert later == [threads]  # a thread that begins afterwards gets ours, not the workers' one


def test_modes_hold_in_every_thread(threads):
    seen = []

    def look(k: int) -> None:
        seen.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled(), (x @ x).dtype))

    x = torch.ones(4, 4)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        share(look, range(8))
    assert set(seen) == {(True, False, torch.bfloat16)}
    seen.clear()
    share(look, range(8))
    assert set(seen) == {(False, False, torch.float32)}


def test_an_error_is_raised_after_all_threads_have_ended(threads):
    begun, ended = [], []

    def fail_early(k: int) -> None:
        begun.append(k)
        if k == 0:
            raise ValueError("piece 0")
        threading.Event().wait(0.02)
        ended.append(k)

    with pytest.raises(ValueError, match="piece 0"):
        share(fail_early, range(200))
    assert len(begun) < 200
    assert sorted(begun) == [0, *sorted(ended)]


def test_results_come_in_order_and_only_a_few_ahead(threads):
    begun: list[int] = []

    def slowest_first(k: int) -> tuple[int, bool, int]:
        begun.append(k)
        threading.Event().wait(0.02 if k == 0 else 0)
        return k, torch.is_grad_enabled(), torch.get_num_threads()

    found = in_order(slowest_first, range(30), torch.device("cpu"))
    assert next(found) == (0, False, 1)
    assert len(begun) <= threads + 2
    assert [k for k, _, _ in found] == list(range(1, 30))
    assert begun[0] == 0
    assert sorted(begun) == list(range(30))
    assert torch.get_num_threads() == threads


def test_uneven_items_have_all_threads(threads):
    found = in_order(lambda k: torch.get_num_threads(), range(1), torch.device("cpu"))
    assert list(found) == [threads]


def test_an_error_in_order_is_raised_where_it_stands_and_ends_the_others(threads):
    begun = []

    def fail(k: int) -> int:
        begun.append(k)
        if k == 3:
            raise ValueError("piece 3")
        return k

    found = in_order(fail, range(300), torch.device("cpu"))
    with pytest.raises(ValueError, match="piece 3"):
        list(found)
    assert len(begun) < 20
    assert list(found) == []


def test_the_first_calls_may_come_at_once(threads, monkeypatch):
    """Each makes its own pool at the same moment, and none waits for another's."""
    monkeypatch.setattr(threads_module, "_pools", {})
    met = threading.Barrier(2)

    class Late(ThreadPoolExecutor):
        def __init__(self, *args: object, **named: object) -> None:
            super().__init__(*args, **named)
            met.wait(10)

    monkeypatch.setattr(threads_module, "ThreadPoolExecutor", Late)
    done: list[int] = []
    callers = [threading.Thread(target=share, args=(done.append, range(5)), daemon=True) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(10)
    assert sorted(done) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_few_pieces_keep_threads_busy_only_where_they_divide():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert [n for n in range(1, 15) if evenly(n)] == [2, 4, 6, *range(8, 15)]
        torch.set_num_threads(1)
        assert not evenly(4)
    finally:
        torch.set_num_threads(before)
