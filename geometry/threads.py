"""Work shared out to Python threads, in each of which PyTorch uses one of its own.

An operation that PyTorch spreads over its threads ends when the slowest has done its share; a network is
hundreds of them, and beside other work each waits for a thread that has lost its core. Here every thread
takes pieces of the work through many operations, and they meet once.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Barrier
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
IDLE = 0.1  # share of the threads' time that may be lost where pieces are few
_pools: dict[int, ThreadPoolExecutor] = {}

# A forked child (a data loader's worker) inherits the pools but none of their threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


def evenly(pieces: int) -> bool:
    """Whether so many equal pieces keep PyTorch's present number of threads, more than one, busy."""
    threads = torch.get_num_threads()
    return threads > 1 and -(-pieces // threads) * threads * (1 - IDLE) <= pieces


def share(function: Callable[[Item], object], items: Iterable[Item]) -> None:
    """``function(item)`` for all items, by as many threads as PyTorch uses; for inference on a CPU.

    They write to disjoint memory, so results do not depend on who does what. Modes of the calling thread
    (autocast, inference) hold. Returns, or raises what one of them raised or Ctrl-C, when all have ended.
    """
    rest = deque(items)

    def take() -> None:
        while rest:
            try:
                item = rest.popleft()
            except IndexError:  # another thread was quicker
                return
            function(item)

    work = _in_these_modes(take)
    threads = torch.get_num_threads()
    futures = [_pool(threads).submit(work) for _ in range(threads)]
    try:
        for future in futures:
            future.result()
    finally:
        rest.clear()  # what is not begun, if something failed
        wait(futures)


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """``function(item)`` for all items, in their order and as they are asked for; without gradients.

    On a CPU, where items are `evenly` many, every thread takes whole ones as in `share`; as many as there are
    threads, and one more, are begun before they are asked for. Else each item has all threads.
    """
    work = _in_these_modes(function)
    if device.type != "cpu" or not evenly(len(items)):
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    begun: deque[Future[Result]] = deque()
    try:
        for item in items:
            begun.append(_pool(threads).submit(work, item))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()
        wait(begun)


def _in_these_modes(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function without gradients, in the inference mode and autocast of the thread that calls this."""
    inference, narrow = torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    dtype = torch.get_autocast_dtype("cpu")

    def work(*arguments: Any) -> Result:
        modes = torch.inference_mode(inference), torch.autocast("cpu", dtype=dtype, enabled=narrow)
        with modes[0], modes[1], torch.no_grad():
            return function(*arguments)

    return work


def _pool(threads: int) -> ThreadPoolExecutor:
    if threads not in _pools:
        # The number of a new thread is the last that anybody set, so ours is set again when all have begun.
        begun = Barrier(threads + 1)

        def start() -> None:
            torch.get_num_threads()  # the first call in a thread takes over what was set last
            torch.set_num_threads(1)
            begun.wait()

        pool = ThreadPoolExecutor(threads, thread_name_prefix="share", initializer=start)
        for _ in range(threads):
            pool.submit(lambda: None)
        begun.wait()
        torch.set_num_threads(threads)
        _pools.setdefault(threads, pool)  # another thread may have made one meanwhile
    return _pools[threads]
