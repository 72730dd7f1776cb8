import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from geometry.errors import InputError
from geometry.formats.ply import read_elements
from geometry.ops.rotations import matrix_from_quat_xyzw, xyzw_from_wxyz
from geometry.views import Cameras
from nvs.gaussians import SH_C0, Gaussians
from nvs.gaussians.files import ply, splat, spz
from nvs.gaussians.transform import turn_gaussians
from nvs.metrics import psnr
from nvs.rasterizer import rasterize


def random_gaussians(generator: torch.Generator, n: int = 300, degree: int = 2) -> Gaussians:
    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Gaussians(
        means=3 * draw(1, n, 3),
        quats=draw(1, n, 4),
        scales=(draw(1, n, 3) - 4).exp(),
        opacities=draw(1, n).sigmoid(),
        sh=0.3 * draw(1, n, (degree + 1) ** 2, 3),
    )


def rotations(g: Gaussians) -> torch.Tensor:
    return matrix_from_quat_xyzw(xyzw_from_wxyz(g.quats))


def same(ours: Gaussians, wanted: Gaussians, *, means, rotation, scales, opacities, colour, sh) -> None:
    """Largest errors; of scales relative, of rotations in the matrix's entries."""
    assert (ours.means - wanted.means).abs().max() <= means
    assert (rotations(ours) - rotations(wanted)).abs().max() <= rotation
    assert (ours.scales / wanted.scales - 1).abs().max() <= scales
    assert (ours.opacities - wanted.opacities).abs().max() <= opacities
    assert (ours.sh[:, :, 0] - wanted.sh[:, :, 0]).abs().max() <= colour
    if wanted.sh.shape[2] > 1:
        assert (ours.sh[:, :, 1:] - wanted.sh[:, :, 1:]).abs().max() <= sh


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_ply_read_back(tmp_path, generator, degree):
    g = random_gaussians(generator, degree=degree)
    assert ply.write(tmp_path / "g.ply", g) == 300
    ours = ply.read(tmp_path / "g.ply")
    same(ours, g, means=0, rotation=1e-5, scales=1e-5, opacities=1e-6, colour=0, sh=0)


def test_ply_layout_by_hand(tmp_path):
    sh = torch.zeros(1, 1, 4, 3)
    sh[0, 0, :, 0], sh[0, 0, :, 1], sh[0, 0, :, 2] = (
        torch.arange(4.0) + 10 * c for c in (1, 2, 3)
    )  # red, green, blue
    g = Gaussians(
        means=torch.tensor([[[1.0, 2, 3]]]),
        quats=torch.tensor([[[0.0, 0, 2, 0]]]),
        scales=torch.tensor([[[1.0, 2, 4]]]),
        opacities=torch.tensor([[0.75]]),
        sh=sh,
    )
    ply.write(tmp_path / "g.ply", g)
    vertices = read_elements(tmp_path / "g.ply")[0]["vertex"]
    names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"] + [
        f"f_rest_{i}" for i in range(9)
    ]
    names += ["opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert list(vertices.dtype.names) == names
    wanted = [1, 2, 3, 0, 0, 0, 10, 20, 30, 11, 12, 13, 21, 22, 23, 31, 32, 33]
    wanted += [np.log(3), 0, np.log(2), np.log(4), 0, 0, 1, 0]
    np.testing.assert_allclose(list(vertices[0].tolist()), wanted, rtol=1e-6)


def test_the_files_of_gsplat_are_read(tmp_path, generator):
    exporter = pytest.importorskip("gsplat.exporter")
    g = random_gaussians(generator, degree=3)
    for kind in ("ply", "splat"):
        exporter.export_splats(
            means=g.means[0],
            scales=g.scales[0].log(),
            quats=g.quats[0],
            opacities=g.opacities[0].logit(),
            sh0=g.sh[0, :, :1],
            shN=g.sh[0, :, 1:],
            format=kind,
            save_to=str(tmp_path / f"theirs.{kind}"),
        )
    same(
        ply.read(tmp_path / "theirs.ply"), g,
        means=0, rotation=1e-5, scales=1e-5, opacities=1e-6, colour=0, sh=0,
    )  # fmt: skip

    # In .splat they order by place and we by size; sort both by x to compare.
    splat.write(tmp_path / "ours.splat", g)
    theirs, ours = (splat.read(tmp_path / f"{who}.splat") for who in ("theirs", "ours"))
    theirs, ours = (x[:, x.means[0, :, 0].argsort()] for x in (theirs, ours))
    # They cut where we round: one step of each byte.
    same(
        ours, replace(theirs, sh=theirs.sh),
        means=0, rotation=0.05, scales=1e-5, opacities=1.1 / 255, colour=1.1 / 255 / SH_C0, sh=0,
    )  # fmt: skip


def test_opacities_of_0_and_1_stay_finite(tmp_path, generator):
    g = random_gaussians(generator, n=2)
    g = replace(g, opacities=torch.tensor([[0.0, 1.0]]))
    ply.write(tmp_path / "g.ply", g)
    assert np.isfinite(read_elements(tmp_path / "g.ply")[0]["vertex"]["opacity"]).all()
    assert_close(ply.read(tmp_path / "g.ply").opacities, g.opacities, atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", ["ply", "splat", "spz"])
def test_what_cannot_be_drawn_is_left_out_and_counted(tmp_path, generator, suffix):
    g = random_gaussians(generator, n=6)
    g.means[0, 0, 1] = torch.nan
    g.scales[0, 1, 2] = -0.1
    g.quats[0, 2] = 0
    g.opacities[0, 3] = torch.inf
    g.sh[0, 4, 3, 0] = -torch.inf
    assert g.save(tmp_path / f"g.{suffix}") == 1
    assert_close(Gaussians.load(tmp_path / f"g.{suffix}").means, g.means[:, 5:], atol=1e-4, rtol=0)


def test_no_gaussians_at_all(tmp_path, generator):
    g = random_gaussians(generator)[:, :0]
    for suffix in ("ply", "splat", "spz"):
        assert g.save(tmp_path / f"g.{suffix}") == 0
        assert Gaussians.load(tmp_path / f"g.{suffix}").means.shape == (1, 0, 3)


def test_splat_read_back_and_order(tmp_path, generator):
    g = random_gaussians(generator, degree=2)
    g = replace(g, sh=0.1 * g.sh)
    splat.write(tmp_path / "g.splat", g)
    assert (tmp_path / "g.splat").stat().st_size == 300 * 32
    ours = splat.read(tmp_path / "g.splat")
    weight = ours.scales.log().sum(-1) + ours.opacities.clamp(min=1e-6).log()
    assert (weight[0].diff() < 0.05).all()  # opacity was rounded
    ours, wanted = (x[:, x.means[0, :, 0].argsort()] for x in (ours, g))
    wanted = replace(wanted, sh=wanted.sh[:, :, :1])
    same(
        ours, wanted,
        means=0, rotation=0.03, scales=1e-6, opacities=0.5 / 255 + 1e-6, colour=0.51 / 255 / SH_C0, sh=0,
    )  # fmt: skip


@pytest.mark.parametrize("world", ["y_down", "y_up"])
# Version 2 rebuilds w from bytes of x, y, z: near w = 0 a byte's step is a tenth of w.
@pytest.mark.parametrize(("version", "rotation"), [(3, 0.006), (2, 0.25)])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spz_read_back(tmp_path, generator, degree, version, rotation, world):
    g = random_gaussians(generator, degree=degree)
    g = replace(g, sh=g.sh.clamp(-0.99, 0.99))
    spz.write(tmp_path / "g.spz", g, version=version, world=world)
    ours = spz.read(tmp_path / "g.spz", world=world)
    same(
        ours, g, means=2**-17 + 1e-6, rotation=rotation, scales=np.expm1(1 / 32) + 1e-5,
        opacities=0.5 / 255 + 1e-6, colour=0.5 / 255 / 0.15 + 1e-5, sh=0.5 / 128 + 1e-5,
    )  # fmt: skip


def test_spz_bytes_by_hand(tmp_path):
    g = Gaussians(
        means=torch.tensor([[[1.0, -2.5, 100.0]]]),
        quats=torch.tensor([[[0.8, 0.0, -0.6, 0.0]]]),  # w is largest; y is negative
        scales=torch.tensor([[[1.0, np.e, np.e**-1]]]),
        opacities=torch.tensor([[0.6]]),
        sh=torch.tensor([[[[1.0, 0.0, -1.0], [0.5, 0.0, -0.5], [0.0, 0.0, 0.0], [1 / 128, 0.0, 1.0]]]]),
    )
    spz.write(tmp_path / "g.spz", g, world="y_up")
    data = gzip.decompress((tmp_path / "g.spz").read_bytes())
    bits = 16  # 100 * 2^16 < 2^23
    fixed = [1 << 16, -5 << 15, 100 << 16]
    wanted = struct.pack("<IIIBBBB", 0x5053474E, 3, 1, 1, bits, 0, 0)
    wanted += b"".join(struct.pack("<i", f)[:3] for f in fixed)
    wanted += bytes([153])  # opacity
    wanted += bytes([166, 128, 89])  # 127.5 +- 38.25
    wanted += bytes([160, 176, 144])  # log scales + 10, in sixteenths
    y = 1 << 9 | round(0.6 * 2**0.5 * 511)
    wanted += struct.pack("<I", 3 << 30 | 0 << 20 | y << 10 | 0)
    wanted += bytes([192, 128, 64, 128, 128, 128, 129, 128, 255])
    assert data == wanted


def test_spz_is_stored_y_up(tmp_path, generator):
    g = random_gaussians(generator)
    spz.write(tmp_path / "g.spz", g)
    stored = spz.read(tmp_path / "g.spz", world="y_up")
    turn = torch.diag(torch.tensor([1.0, -1, -1]))[None]
    assert_close(stored.means, turn_gaussians(g, turn).means, atol=1e-4, rtol=0)
    assert_close(stored.means[..., 1:], -g.means[..., 1:], atol=1e-4, rtol=0)


def test_spz_of_far_gaussians_has_coarser_positions_and_a_limit(tmp_path, generator):
    g = random_gaussians(generator)
    far = replace(g, means=g.means * 1000)
    spz.write(tmp_path / "g.spz", far)
    assert (spz.read(tmp_path / "g.spz").means - far.means).abs().max() < 0.01
    with pytest.raises(InputError, match="8388607"):
        spz.write(tmp_path / "h.spz", replace(g, means=g.means * 1e8))
    assert not (tmp_path / "h.spz").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "g.ply",
            b"ply\nformat binary_little_endian 1.0\nelement vertex 0\nproperty float x\nend_header\n",
            "point cloud",
        ),
        ("g.splat", b"123", "multiple of 32"),
        ("g.spz", b"\x1f\x8bnot gzip", "gzip"),
        ("g.spz", gzip.compress(b"NGSP", mtime=0), "header"),
        ("g.spz", gzip.compress(b"\0" * 16, mtime=0), "first bytes"),
        (
            "g.spz",
            gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 5, 1, 0, 12, 0, 0), mtime=0),
            "version 5",
        ),
        (
            "g.spz",
            gzip.compress(struct.pack("<IIIBBBB", 0x5053474E, 3, 9, 0, 12, 0, 0), mtime=0),
            "too short",
        ),
        ("g.txt", b"", "ends in .ply"),
    ],
)
def test_bad_files_give_one_line_that_names_them(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        Gaussians.load(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_batches():
    for suffix in ("ply", "splat", "spz"):
        with pytest.raises(InputError, match="no such file"):
            Gaussians.load(f"/absent/g.{suffix}")
    two = Gaussians(
        means=torch.zeros(2, 1, 3),
        quats=torch.ones(2, 1, 4),
        scales=torch.ones(2, 1, 3),
        opacities=torch.ones(2, 1),
        sh=torch.zeros(2, 1, 1, 3),
    )
    with pytest.raises(ValueError, match="batch size 1, got 2"):
        ply.write("unwritten.ply", two)


@pytest.fixture
def seen(generator) -> tuple[Gaussians, Cameras]:
    """Gaussians in front of two cameras."""
    g = random_gaussians(generator, n=60)
    offset = torch.tensor([0.0, 0.0, 12.0])
    g = replace(g, means=g.means + offset, scales=10 * g.scales, sh=0.5 * g.sh)
    extrinsics = torch.eye(4).repeat(1, 2, 1, 1)
    extrinsics[0, 1, 0, 3] = 1.0
    K = torch.tensor([[40.0, 0, 20], [0, 40, 16], [0, 0, 1]])
    return g, Cameras(extrinsics=extrinsics, intrinsics=K.expand(1, 2, 3, 3))


@pytest.mark.parametrize(("suffix", "least_db"), [("ply", 60), ("spz", 35)])
def test_the_file_looks_like_the_render(tmp_path, seen, suffix, least_db):
    g, cameras = seen
    file = tmp_path / f"g.{suffix}"
    g.save(file)
    before, after = (
        rasterize(x, cameras, (32, 40), backend="torch").rgb[0] for x in (g, Gaussians.load(file))
    )
    assert before.std() > 0.05
    assert psnr(after, before).min() > least_db
