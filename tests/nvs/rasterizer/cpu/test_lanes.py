"""Vectors of sixteen lanes: arithmetic, the exponential, sums, and that they are packed instructions."""

import platform
import re

import numpy as np
import pytest
from numba import njit

from geometry.compiled import OPTIONS
from nvs.rasterizer import rasterize
from nvs.rasterizer.cpu import lanes
from nvs.rasterizer.cpu.blending import blend
from nvs.rasterizer.cpu.blending_backward import blend_backward

X86 = re.compile(r"\bv?(?:mul|add|sub|fmadd\d+|fnmadd\d+)ps\b")
ARM = re.compile(r"\bf(?:mul|add|sub|mla)\s+v\d+\.4s")


@njit
def _operations(values, out, scalar):
    x = lanes.load(values, 0)
    lanes.store(out, 0, lanes.exp2(x))
    lanes.store(out, 16, lanes.select(x >= scalar, x * scalar, -x))
    lanes.store(out, 32, lanes.lane_x() + np.float32(10) * lanes.lane_y())
    lanes.store(out, 48, lanes.sums((x, x * x, lanes.lane_y(), lanes.splat(scalar))))
    return lanes.some(x > scalar), lanes.some(x > np.float32(100)), lanes.float_bits(scalar)


def test_operations_against_numpy():
    values = np.linspace(-8, 1, 16).astype(np.float32)
    out, scalar = np.empty(64, np.float32), np.float32(-3)
    some, none, bits = _operations(values, out, scalar)
    np.testing.assert_allclose(out[:16], np.exp2(values.astype(np.float64)), rtol=2.5e-7)
    np.testing.assert_array_equal(out[16:32], np.where(values >= scalar, values * scalar, -values))
    np.testing.assert_array_equal(out[32:48].reshape(4, 4), np.add.outer(10 * np.arange(4), np.arange(4)))
    wanted = [values.sum(), (values**2).sum(), 4 * (1 + 2 + 3), 16 * scalar] + 12 * [0]
    np.testing.assert_allclose(out[48:], wanted, rtol=1e-6)
    assert (some, none) == (True, False)
    assert bits == scalar.view(np.int32)


def test_mixing_in_a_double_is_refused():
    @njit
    def mixed(values):
        return lanes.some(lanes.load(values, 0) * 2.0 > np.float32(0))

    with pytest.raises(Exception, match="No implementation of function"):
        mixed(np.zeros(16, np.float32))


@pytest.mark.parametrize("kernel", [blend, blend_backward], ids=["blend", "blend_backward"])
def test_blending_is_compiled_to_packed_instructions(kernel, scene, cameras):
    gaussians = scene(5).map(lambda t: t.requires_grad_())
    rasterize(gaussians, cameras(1, (8, 8)), (8, 8), backend="cpu").rgb.sum().backward()
    # Numba keeps no assembly of cached code: compile once more, for the types just used.
    fresh = njit(**{**OPTIONS, "cache": False})(kernel.py_func)
    fresh.compile(kernel.signatures[0])
    (assembly,) = fresh.inspect_asm().values()
    pattern = ARM if platform.machine().lower() in ("arm64", "aarch64") else X86
    # At least one packed instruction for each of the loop's operations; scalar code would have none.
    assert len(pattern.findall(assembly)) > 15
