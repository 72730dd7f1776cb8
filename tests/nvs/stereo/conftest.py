"""A wall and a board in front of it, drawn exactly: what a plane sweep has to find."""

import math

import pytest
import torch

from geometry.ops.pinhole import pixel_grid
from geometry.views import Cameras, Views

SIZE = (48, 64)
WALL, BOARD = 6.0, 4.0


def cameras_in_a_row(count=5, spacing=0.4, scale=1.0):
    """Side by side, looking along z."""
    extrinsics = torch.eye(4).repeat(1, count, 1, 1)
    extrinsics[0, :, 0, 3] = -scale * spacing * (torch.arange(count) - (count - 1) / 2)
    extrinsics[0, :, 1, 3] = -scale * 0.1 * (torch.arange(count) % 2)
    K = torch.tensor([[60.0, 0, 31], [0, 60, 25], [0, 0, 1]])
    return Cameras(extrinsics=extrinsics, intrinsics=K.expand(1, count, 3, 3).contiguous())


def texture(x, y, seed):
    """Waves of many directions, 0..1."""
    generator = torch.Generator().manual_seed(seed)
    value = torch.zeros(*x.shape, 3)
    for _ in range(24):
        angle, phase = torch.rand(2, generator=generator) * 2 * math.pi
        frequency = 2 + 10 * torch.rand((), generator=generator)
        wave = torch.sin(frequency * (x * torch.cos(angle) + y * torch.sin(angle)) + phase)
        value += wave[..., None] * torch.rand(3, generator=generator)
    return (0.5 + 0.12 * value).clamp(0, 1)


def draw(cameras, scale=1.0):
    """Views and their true depth: a wall at z = 6, before it a board at z = 4 of two units a side."""
    pixels = pixel_grid(SIZE)
    images, depths = [], []
    for E, K in zip(cameras.extrinsics[0], cameras.intrinsics[0]):
        centre = -E[:3, 3] / scale
        slope = (pixels - K[:2, 2]) / K[0, 0]
        hit = {z: centre[:2] + z * slope for z in (WALL, BOARD)}
        board = (hit[BOARD].abs() < 1).all(-1)
        wall = texture(*hit[WALL].unbind(-1), seed=1)
        images.append(torch.where(board[..., None], texture(*hit[BOARD].unbind(-1), seed=2), wall))
        depths.append(torch.where(board, BOARD, WALL) * scale)
    return Views(images=torch.stack(images).movedim(-1, 1)[None], cameras=cameras), torch.stack(depths)[None]


@pytest.fixture(scope="session")
def board():
    return draw(cameras_in_a_row())
