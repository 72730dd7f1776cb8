"""Buffers on loan: aligned, exclusive while held, used again afterwards."""

import gc

import numpy as np
import pytest
import torch

from nvs.rasterizer.cpu.workspace import ALIGNMENT, SMALLEST, Workspace


def test_arrays_are_aligned_and_exclusive():
    workspace = Workspace()
    arrays = [workspace.take((3, 1000 + k)) for k in range(5)]
    for k, array in enumerate(arrays):
        assert array.ctypes.data % ALIGNMENT == 0
        array.fill(k)
    for k, array in enumerate(arrays):
        assert (array == k).all()


@pytest.mark.extended
def test_a_returned_buffer_is_lent_again():
    workspace = Workspace()
    array = workspace.take(10_000)
    address = array.ctypes.data
    tensor = torch.from_numpy(array)
    del array
    gc.collect()
    assert workspace.held == 0, "the tensor still uses the buffer"
    del tensor
    gc.collect()
    assert workspace.held > 40_000
    again = workspace.take(10_100)
    assert again.ctypes.data == address
    assert workspace.held == 0


def test_too_large_a_buffer_is_not_wasted_on_a_small_request():
    workspace = Workspace()
    del_me = workspace.take(SMALLEST * 100)
    del del_me
    small = workspace.take(SMALLEST)
    assert workspace.held > 0
    assert small.base is not None


def test_the_shelf_is_bounded_and_can_be_cleared():
    workspace = Workspace(limit=100_000)
    kept, freed = workspace.take(10_000, np.uint8), workspace.take(200_000, np.uint8)
    del kept, freed
    assert 10_000 < workspace.held < 20_000
    workspace.clear()
    assert workspace.held == 0
