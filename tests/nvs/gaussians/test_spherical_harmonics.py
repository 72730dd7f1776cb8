import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from nvs.gaussians.spherical_harmonics import _samples, rotate_sh, sh_basis


def random_rotations(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(Rotation.random(count, random_state=seed).as_matrix())


def unit(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(*shape, 3, generator=generator, dtype=torch.float64), dim=-1
    )


def test_the_basis_is_orthonormal_on_the_sphere():
    # Gauss-Legendre in z, even steps in azimuth: exact for products of degree 6.
    z, weight = np.polynomial.legendre.leggauss(8)
    azimuth = np.arange(16) * (2 * np.pi / 16)
    radius = np.sqrt(1 - z**2)[:, None]
    directions = np.stack(
        (radius * np.cos(azimuth), radius * np.sin(azimuth), np.broadcast_to(z[:, None], (8, 16))), axis=-1
    )
    basis = sh_basis(torch.from_numpy(directions), 3).flatten(0, 1)
    weights = torch.from_numpy(np.repeat(weight * 2 * np.pi / 16, 16))
    assert_close(basis.mT @ (weights[:, None] * basis), torch.eye(16, dtype=torch.float64))


def test_degree_one_is_minus_y_z_minus_x():
    basis = sh_basis(torch.eye(3, dtype=torch.float64), 1)[:, 1:] / 0.4886025119029199
    assert_close(basis, torch.tensor([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], dtype=torch.float64))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_a_turned_function_has_the_old_value_at_the_turned_direction(degree, generator):
    rotation = random_rotations(5)
    sh = torch.randn(5, (degree + 1) ** 2, 3, generator=generator, dtype=torch.float64)
    directions = unit((40,), generator)
    old = torch.einsum("nk,bkc->bnc", sh_basis(directions, degree), sh)
    turned = torch.einsum("bij,nj->bni", rotation, directions)
    new = torch.einsum("bnk,bkc->bnc", sh_basis(turned, degree), rotate_sh(sh, rotation))
    assert_close(new, old, atol=1e-12, rtol=0)


def test_rotations_compose_and_keep_lengths(generator):
    first, second = random_rotations(4, 1), random_rotations(4, 2)
    sh = torch.randn(4, 16, 3, generator=generator, dtype=torch.float64)
    assert_close(rotate_sh(rotate_sh(sh, first), second), rotate_sh(sh, second @ first))
    assert_close(rotate_sh(sh, first).norm(), sh.norm())
    assert_close(rotate_sh(sh, torch.eye(3, dtype=torch.float64)), sh)


def test_one_rotation_per_view_broadcasts_over_its_pixels(generator):
    rotation = random_rotations(3)
    sh = torch.randn(1, 3, 4, 5, 9, 3, generator=generator, dtype=torch.float64)
    shared = rotate_sh(sh, rotation[None, :, None, None])
    each = rotate_sh(sh, rotation[None, :, None, None].expand(1, 3, 4, 5, 3, 3))
    assert_close(shared, each)


@pytest.mark.parametrize("prefix", ["sh", "sh3"])
def test_equals_the_released_rotation(golden_dir, prefix):
    arrays = np.load(golden_dir / "geometry_utils.npz")
    sh = torch.from_numpy(arrays[f"{prefix}_in"]).mT  # stored colour-major
    ours = rotate_sh(sh, torch.from_numpy(arrays["sh_R"])).mT
    assert_close(ours, torch.from_numpy(arrays[f"{prefix}_rotated"]), atol=1e-5, rtol=1e-5)


def test_gradients_in_both_arguments(generator):
    sh = torch.randn(2, 16, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    rotation = random_rotations(2).requires_grad_()
    assert torch.autograd.gradcheck(rotate_sh, (sh, rotation))


def test_inference_first_and_training_afterwards():
    _samples.cache_clear()
    rotation = random_rotations(1)
    with torch.inference_mode():
        rotate_sh(torch.ones(1, 16, 3, dtype=torch.float64), rotation)
    sh = torch.ones(1, 16, 3, dtype=torch.float64, requires_grad=True)
    rotate_sh(sh, rotation.requires_grad_()).square().sum().backward()
    assert_close(sh.grad, 2 * sh.detach())  # an orthogonal map keeps the norm


def test_a_number_of_terms_that_is_no_square_is_refused():
    with pytest.raises(ValueError, match="got 5"):
        rotate_sh(torch.zeros(1, 5, 3), torch.eye(3))
