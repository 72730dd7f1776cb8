"""Other work on this machine, for benchmarks to run beside."""

import os
from multiprocessing import get_context

import torch


def start(processes: int) -> None:
    """That many processes that multiply matrices, one thread each, as long as this one lives."""
    for _ in range(processes):
        get_context("spawn").Process(target=_multiply, args=(os.getpid(),), daemon=True).start()


def _multiply(parent: int) -> None:
    torch.set_num_threads(1)
    x = torch.rand(512, 512)
    while os.getppid() == parent:  # a parent that is killed ends no daemon
        x @ x
