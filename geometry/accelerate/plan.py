"""Which of the fast forms are used, decided where the program runs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from geometry.accelerate.attention import attention_by_rows
from geometry.accelerate.products import formats, lay_out, multiply

MARGIN = 0.95  # a fast form must need less than this share of plain PyTorch's time to be used
TURNS = 5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What inference on a CPU does otherwise than plain PyTorch."""

    products: bool = False  # the blocks' linear maps go to oneDNN
    attention: bool = False  # that of long sequences goes by rows of scores (`attention_by_rows`)
    long: int = 640  # tokens above which it does
    # Tokens that a block takes at a time, None all: few enough for the widest tensor to stay in the cache
    # (and under the 32 MB above which every allocation is fresh pages), many enough for efficient products.
    rows: int | None = 2048
    # Dense heads take as many views at a time as keep their widest maps within this; None: as they are told.
    head_bytes: int | None = 16 << 20
    kept_bytes: int = 128 << 20  # blocks with weights up to this keep them laid out, too, between calls

    @staticmethod
    def for_machine(dtype: torch.dtype = torch.float32) -> "Plan":
        """What is quicker here for products in ``dtype`` with PyTorch's present number of threads.

        Measured once for each, in some 0.1 s; PyTorch's own where the gain is below `MARGIN`, and on
        processors without AVX-512, where there was none.
        """
        return _measured(dtype, torch.get_num_threads())


@lru_cache
def _measured(dtype: torch.dtype, threads: int) -> Plan:
    if dtype not in formats() or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return Plan()
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        # The first linear map of an MLP of width 384 on 256 tokens, and one head over 1024 tokens.
        x, weight = (torch.randn(n, 384, generator=generator).to(dtype) for n in (256, 1536))
        qkv = torch.randn(3, 1, 1, 1024, 64, generator=generator).to(dtype)
        laid_out = lay_out(weight, len(x))
        return Plan(
            products=_gains(lambda: multiply(x, laid_out), lambda: F.linear(x, weight)),
            attention=_gains(lambda: attention_by_rows(*qkv), lambda: F.scaled_dot_product_attention(*qkv)),
        )


def _gains(fast: Callable[[], object], plain: Callable[[], object]) -> bool:
    """Whether ``fast`` needs less CPU time by the margin: medians in turns (a wall clock tells less)."""
    seconds: dict[Callable, list[float]] = {fast: [], plain: []}
    for _ in range(1 + TURNS):
        for call in seconds:
            start = time.process_time()
            call()
            seconds[call].append(time.process_time() - start)
    return statistics.median(seconds[fast][1:]) < MARGIN * statistics.median(seconds[plain][1:])
