"""Kernels on several threads: plain Python threads around code that releases the GIL.

Numba's own ``parallel=True`` is not used. Its OpenMP layer brings a second OpenMP runtime beside torch's, and
the two runtimes' idle threads compete for the cores (see docs/rasterizer.md); its "workqueue" layer ends the
process when two Python threads meet in it; and both compile slowly.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    global _pool
    _pool = None


# A forked child (a data loader's worker) inherits the pool object but none of its threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def worker_count() -> int:
    """Into how many shares work is divided: two for each of torch's threads, if there are several."""
    threads = torch.get_num_threads()
    return 2 * threads if threads > 1 else 1


def run(kernel: Callable[..., None], *arguments: Any, workers: int | None = None) -> None:
    """Call ``kernel(worker, workers, *arguments)`` for every worker number and wait for all.

    Kernels share out their work by ``range(worker, items, workers)``, and items write to disjoint memory, so
    results do not depend on the number of workers: by default `worker_count`.
    """
    global _pool
    threads, workers = torch.get_num_threads(), workers or worker_count()
    if threads > 1 and _pool is None:
        _pool = ThreadPoolExecutor(max(threads, os.cpu_count() or 1), thread_name_prefix="rasterize")
    shares = iter(range(workers))

    def work() -> None:
        # Each thread takes the next share when it has done one: a slow core does fewer.
        for worker in shares:
            kernel(worker, workers, *arguments)

    others = [_pool.submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        other.result()
