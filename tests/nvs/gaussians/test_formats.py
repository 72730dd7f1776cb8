"""Every format: read back, read by others' code, rendered; and what files hold beside the ordinary."""

import gzip
import json
import shutil
import struct
import subprocess
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from geometry.console import listening
from geometry.errors import InputError
from geometry.formats.glb import read_container, write_container
from geometry.formats.ply import read_elements, write_elements
from geometry.ops.rotations import matrix_from_quat_xyzw, xyzw_from_wxyz
from geometry.views import Cameras
from nvs.gaussians import SH_C0, Gaussians
from nvs.gaussians.files import spz
from nvs.gaussians.transform import turn_gaussians
from nvs.metrics import psnr

ENDINGS = ("ply", "compressed.ply", "splat", "spz", "sog", "glb", "html")
Y_UP = torch.diag(torch.tensor([1.0, -1, -1]))[None]
# Largest errors of places, rotation matrices, log scales, opacities, colours and further SH.
BOUNDS = {
    "ply": (0, 1e-5, 1e-5, 1e-6, 0, 0),
    "glb": (0, 1e-5, 1e-5, 1e-6, 0, 1e-6),
    "spz": (2**-16, 0.006, 1 / 31, 0.6 / 255, 0.6 / 255 / 0.15, 0.6 / 128),
    "compressed.ply": (0.02, 0.006, 0.01, 0.6 / 255, 0.01, 1 / 60),
    "sog": (0.01, 0.02, 0.02, 0.6 / 255, 0.01, 0.01),
    "html": (0.01, 0.02, 0.02, 0.6 / 255, 0.01, 0.01),
    "splat": (0, 0.03, 1e-6, 0.6 / 255, 0.6 / 255 / SH_C0, 0),
}


def scattered(
    generator: torch.Generator, n: int = 700, degree: int = 3, antialiased: bool = False
) -> Gaussians:
    """More than two groups of the compressed PLY, colours that bytes can hold."""

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return Gaussians(
        means=3 * draw(1, n, 3) + torch.tensor([1.0, -2, 6]),
        quats=draw(1, n, 4),
        scales=(0.7 * draw(1, n, 3) - 3).exp(),
        opacities=draw(1, n).sigmoid(),
        sh=(0.25 * draw(1, n, (degree + 1) ** 2, 3)).clamp(-0.9, 0.9),
    ).marked(antialiased)


def close(found: Gaussians, wanted: Gaussians, ending: str) -> None:
    """The same Gaussians in any order, as exactly as the format holds them."""
    assert found.means.shape == wanted.means.shape
    nearest = torch.cdist(found.means[0].double(), wanted.means[0].double()).argmin(dim=1)
    assert len(set(nearest.tolist())) == len(nearest)
    wanted = wanted[:, nearest]
    rotation = [matrix_from_quat_xyzw(xyzw_from_wxyz(g.quats)) for g in (found, wanted)]
    means, turn, logs, opacities, colour, sh = BOUNDS[ending]
    assert (found.means - wanted.means).abs().max() <= means + 1e-6
    same_way = (rotation[0] * rotation[1]).sum(dim=-2, keepdim=True).sign()  # an axis has no direction
    assert (rotation[0] * same_way - rotation[1]).abs().max() <= turn
    assert (found.scales.log() - wanted.scales.log()).abs().max() <= logs
    assert (found.opacities - wanted.opacities).abs().max() <= opacities
    assert (found.sh[:, :, :1] - wanted.sh[:, :, :1]).abs().max() <= colour + 1e-6
    if ending != "splat":
        assert found.sh.shape == wanted.sh.shape
        assert wanted.sh_degree == 0 or (found.sh - wanted.sh)[:, :, 1:].abs().max() <= sh + 1e-6


@pytest.mark.extended
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("ending", ENDINGS)
def test_read_back(tmp_path, generator, ending, degree):
    g = scattered(generator, degree=degree, antialiased=degree == 1)
    assert g.save(tmp_path / f"g.{ending}") == 700
    found = Gaussians.load(tmp_path / f"g.{ending}")
    close(found, g, ending)
    assert found.antialiased == (g.antialiased and ending != "splat")  # which has no place for it
    # Equal Gaussians give equal files.
    g.save(tmp_path / f"h.{ending}")
    if ending != "spz":  # gzip notes the time
        assert (tmp_path / f"h.{ending}").read_bytes() == (tmp_path / f"g.{ending}").read_bytes()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("count", [0, 1, 256, 257])
def test_any_number_of_gaussians(tmp_path, generator, ending, count):
    g = scattered(generator, n=count, degree=1)
    assert g.save(tmp_path / f"g.{ending}") == count
    found = Gaussians.load(tmp_path / f"g.{ending}")
    assert found.means.shape == (1, count, 3)
    if count:
        close(found, g, ending)


@pytest.mark.parametrize("degree", [1, 2, 3])  # 0.6 answers std::bad_cast where there are no further SH
@pytest.mark.parametrize("ending", ["ply", "compressed.ply", "spz", "sog"])
@pytest.mark.parametrize("version", [3, 4])
def test_gaussforge_reads_our_files(tmp_path, generator, ending, degree, version):
    forge = pytest.importorskip("gaussforge").GaussForge()
    if version == 4:
        if ending != "spz":
            pytest.skip("one form only")
        pytest.importorskip("zstandard")
    g = scattered(generator, degree=degree)
    path = tmp_path / f"g.{ending}"
    g.save(path, **({"version": version} if ending == "spz" else {}))
    answer = forge.read(path.read_bytes(), ending)["data"]
    f = {
        key: np.frombuffer(value, np.float32).copy()
        for key, value in answer.items()
        if isinstance(value, bytes)
    }
    found = {key: torch.from_numpy(value) for key, value in f.items()}
    rest = (degree + 1) ** 2 - 1
    theirs = Gaussians(
        means=found["positions"].reshape(1, -1, 3),
        quats=found["rotations"].reshape(1, -1, 4),
        scales=found["scales"].reshape(1, -1, 3).exp(),
        opacities=found["alphas"].reshape(1, -1).sigmoid(),
        sh=torch.cat(
            (found["colors"].reshape(1, -1, 1, 3), found.get("sh", torch.zeros(0)).reshape(1, 700, rest, 3)),
            dim=2,
        ),
    )
    close(theirs, turn_gaussians(g, Y_UP) if ending == "spz" else g, ending)


@pytest.mark.skipif(not shutil.which("splat-transform"), reason="npm install -g @playcanvas/splat-transform")
@pytest.mark.parametrize("degree", [0, 3])
@pytest.mark.parametrize("ending", ["ply", "compressed.ply", "spz", "sog", "splat"])
def test_splat_transform_reads_our_files(tmp_path, generator, ending, degree):
    """Brought to PLY by PlayCanvas' program."""
    g = scattered(generator, degree=degree)
    g.save(tmp_path / f"g.{ending}")
    command = ["splat-transform", tmp_path / f"g.{ending}", tmp_path / "theirs.ply"]
    subprocess.run(command, check=True, capture_output=True)
    close(Gaussians.load(tmp_path / "theirs.ply"), g, ending)


@pytest.mark.parametrize("degree", [0, 3])
@pytest.mark.parametrize("ending", ["ply", "compressed.ply", "spz"])
def test_gsply_reads_our_files(tmp_path, generator, ending, degree):
    gsply = pytest.importorskip("gsply")
    g = scattered(generator, degree=degree)
    path = tmp_path / f"g.{ending}"
    g.save(path)
    found = gsply.read_spz(path) if ending == "spz" else gsply.plyread(path)
    columns = [
        torch.as_tensor(np.array(x)) for x in (found.means, found.quats, found.scales, found.opacities)
    ]
    sh = torch.as_tensor(np.array(found.sh0))[:, None]
    if degree:
        sh = torch.cat((sh, torch.as_tensor(np.array(found.shN))), dim=1)
    theirs = Gaussians(
        means=columns[0][None],
        quats=columns[1][None],
        scales=columns[2].exp()[None],
        opacities=columns[3].sigmoid()[None],
        sh=sh[None],
    )
    close(theirs, turn_gaussians(g, Y_UP) if ending == "spz" else g, ending)


@pytest.mark.parametrize("ending", ["compressed.ply", "spz", "sog"])
@pytest.mark.parametrize("version", [3, 4])
def test_their_files_are_read(tmp_path, generator, ending, version):
    """Converted by gaussforge from our PLY, in the PLY's axes: it turns nothing."""
    forge = pytest.importorskip("gaussforge").GaussForge()
    if version == 4:
        if ending != "spz":
            pytest.skip("one form only")
        pytest.importorskip("zstandard")
    g = scattered(generator)
    g = replace(g, sh=torch.cat((g.sh[:, :, :1], 0.1 * g.sh[:, :, 1:]), dim=2))
    g.save(tmp_path / "g.ply")
    answer = forge.convert((tmp_path / "g.ply").read_bytes(), "ply", ending, spz_version=version)
    (tmp_path / f"theirs.{ending}").write_bytes(answer["data"])
    found = Gaussians.load(tmp_path / f"theirs.{ending}", **({"world": "y_up"} if ending == "spz" else {}))
    coarse = {"spz": (2**-11, 0.006, 1 / 31, 0.01, 0.03, 1 / 14), "sog": (0.01, 0.03, 0.5, 0.01, 0.1, 0.2)}
    if ending in coarse:  # they keep 12 bits of places and 4 or 5 of SH
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(BOUNDS, ending, coarse[ending])
            close(found, g, ending)
    else:  # 0.6 writes the further SH of a compressed PLY in another order than it reads them
        close(replace(found, sh=found.sh[:, :, :1]), replace(g, sh=g.sh[:, :, :1]), ending)


def test_spz_version_4_byte_by_byte(tmp_path, generator):
    zstandard = pytest.importorskip("zstandard")
    g = scattered(generator, n=9, degree=1, antialiased=True)
    g.save(tmp_path / "4.spz", version=4)
    g.save(tmp_path / "3.spz", version=3)
    data, older = (tmp_path / "4.spz").read_bytes(), gzip.decompress((tmp_path / "3.spz").read_bytes())
    assert struct.unpack_from("<IIIBBBBI", data) == (0x5053474E, 4, 9, 1, older[13], 1, 6, 32)
    assert data[20:32] == bytes(12)
    at, streams = 32 + 6 * 16, []
    for i in range(6):
        packed, plain = struct.unpack_from("<QQ", data, 32 + 16 * i)
        streams.append(zstandard.ZstdDecompressor().decompress(data[at : at + packed]))
        assert len(streams[-1]) == plain
        at += packed
    assert at == len(data)
    assert b"".join(streams) == older[16:]  # the attributes of version 3


def test_spz_version_1_and_degree_4(tmp_path, generator):
    """Half floats for places; five SH bands, of which we keep three."""
    places = np.array([[1.0, -2.5, 100]], "<f2")
    header = struct.pack("<IIIBBBB", 0x5053474E, 1, 1, 4, 12, 0, 0)
    body = places.tobytes() + bytes([153, 166, 128, 89, 160, 176, 144, 128, 128, 255]) + bytes(range(72))
    (tmp_path / "g.spz").write_bytes(gzip.compress(header + body))
    said = []
    with listening(said.append):
        g = Gaussians.load(tmp_path / "g.spz", world="y_up")
    assert_close(g.means, torch.tensor([[[1.0, -2.5, 100]]]))
    assert_close(g.quats[0, 0, 1:], torch.tensor([1 / 255, 1 / 255, 1.0]), atol=0.01, rtol=0)
    assert_close(g.sh[0, 0, 1:].flatten(), (torch.arange(45.0) - 128) / 128)
    assert len(said) == 1
    assert "degree 4" in said[0]


@pytest.mark.parametrize("version", [3, 4])
def test_spz_extensions_are_passed_over_and_axes_obeyed(tmp_path, generator, version):
    g = scattered(generator, n=5, degree=1)
    g.save(tmp_path / "g.spz", world="y_up", version=version)
    record = struct.pack("<IIf", 0xADBE0002, 4, 1.0) + struct.pack("<III", 0xADBE0003, 4, 6)
    data = (tmp_path / "g.spz").read_bytes()
    if version == 3:
        data = bytearray(gzip.decompress(data)) + record
        data[14] |= 2
        data = gzip.compress(bytes(data))
    else:
        pytest.importorskip("zstandard")
        data = bytearray(data[:32] + record + data[32:])
        data[14] |= 2
        data[16:20] = struct.pack("<I", 32 + len(record))
    (tmp_path / "e.spz").write_bytes(data)
    # The file says that its axes are right, down, front, which are ours.
    close(Gaussians.load(tmp_path / "e.spz"), g, "spz")
    (tmp_path / "f.spz").write_bytes(bytes(data).replace(record, record[:-4] + struct.pack("<I", 7)))
    if version == 4:
        with pytest.raises(InputError, match="got 7"):
            Gaussians.load(tmp_path / "f.spz")


def test_spz_4_without_zstandard_says_what_to_install(tmp_path, generator, monkeypatch):
    pytest.importorskip("zstandard")
    g = scattered(generator, n=3)
    g.save(tmp_path / "g.spz", version=4)
    monkeypatch.setitem(__import__("sys").modules, "zstandard", None)
    for action in (lambda: Gaussians.load(tmp_path / "g.spz"), lambda: g.save(tmp_path / "h.spz", version=4)):
        with pytest.raises(InputError, match="zstandard"):
            action()
    assert not (tmp_path / "h.spz").exists()


@pytest.mark.parametrize("end", [20, 40, 120, -1])
def test_cut_spz_4_is_one_line(tmp_path, generator, end):
    pytest.importorskip("zstandard")
    scattered(generator, n=9, degree=1).save(tmp_path / "g.spz", version=4)
    data = (tmp_path / "g.spz").read_bytes()
    (tmp_path / "g.spz").write_bytes(data[:end])
    with pytest.raises(InputError, match=r"g\.spz"):
        Gaussians.load(tmp_path / "g.spz")


def test_sog_is_a_zip_of_pictures_or_a_folder(tmp_path, generator):
    g = scattered(generator)
    g.save(tmp_path / "g.sog")
    with zipfile.ZipFile(tmp_path / "g.sog") as archive:
        archive.extractall(tmp_path / "folder")
    meta = json.loads((tmp_path / "folder/meta.json").read_text())
    assert (meta["version"], meta["count"], meta["shN"]["bands"]) == (2, 700, 3)
    for part in ("scales", "sh0", "shN"):
        assert len(meta[part]["codebook"]) == 256
        assert meta[part]["codebook"] == sorted(meta[part]["codebook"])
    close(Gaussians.load(tmp_path / "folder/meta.json"), g, "sog")
    (tmp_path / "folder/quats.webp").unlink()
    with pytest.raises(InputError, match=r"quats\.webp"):
        Gaussians.load(tmp_path / "folder/meta.json")
    meta["version"] = 3
    (tmp_path / "folder/meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match="version 2, got version 3"):
        Gaussians.load(tmp_path / "folder/meta.json")


def test_the_palette_of_sog_has_no_more_rows_than_allowed(generator):
    from nvs.gaussians.files.sog import _palette

    values = torch.randn(1000, 9, generator=generator).numpy() * np.linspace(1, 3, 9, dtype=np.float32)
    table, rows = _palette(values, 64)
    assert len(table) <= 64
    assert ((values - table[rows]) ** 2).mean() < 0.5 * values.var()
    table, rows = _palette(np.repeat(values[:10], 3, axis=0), 64)  # equal ones stay together
    assert len(table) == 10
    np.testing.assert_allclose(table[rows], np.repeat(values[:10], 3, axis=0), rtol=1e-5)


def test_glb_by_its_own_words(tmp_path, generator):
    """pygltflib finds the extension's attributes; numbers are y up, scales and opacities as drawn."""
    gltf = pytest.importorskip("pygltflib").GLTF2
    g = scattered(generator, degree=2)
    g.save(tmp_path / "g.glb")
    file = gltf().load(str(tmp_path / "g.glb"))
    assert file.extensionsUsed == ["KHR_gaussian_splatting"]
    (primitive,) = file.meshes[0].primitives
    assert primitive.mode == 0
    assert primitive.extensions["KHR_gaussian_splatting"]["colorSpace"] == "srgb_rec709_display"
    document, binary = read_container(tmp_path / "g.glb")
    attributes = document["meshes"][0]["primitives"][0]["attributes"]

    def column(name: str) -> torch.Tensor:
        accessor = file.accessors[attributes[name]]
        view = file.bufferViews[accessor.bufferView]
        data = file.binary_blob()[view.byteOffset : view.byteOffset + view.byteLength]
        assert data == binary[view.byteOffset : view.byteOffset + view.byteLength]
        return torch.from_numpy(np.frombuffer(data, "<f4").copy()).reshape(1, accessor.count, -1)

    name = "KHR_gaussian_splatting:"
    terms = [f"{name}SH_DEGREE_{l}_COEF_{m}" for l in range(3) for m in range(2 * l + 1)]
    theirs = Gaussians(
        means=column("POSITION"),
        quats=column(f"{name}ROTATION").roll(1, dims=-1),  # xyzw in the file
        scales=column(f"{name}SCALE"),
        opacities=column(f"{name}OPACITY")[..., 0],
        sh=torch.stack([column(term) for term in terms], dim=2),
    )
    close(theirs, turn_gaussians(g, Y_UP), "glb")
    assert set(attributes) == {
        "POSITION",
        "COLOR_0",
        *(name + n for n in ("ROTATION", "SCALE", "OPACITY")),
    } | set(terms)


def test_glb_opens_as_a_point_cloud_elsewhere(tmp_path, generator):
    trimesh = pytest.importorskip("trimesh")
    g = scattered(generator)
    g.save(tmp_path / "g.glb")
    (cloud,) = trimesh.load(tmp_path / "g.glb").geometry.values()
    np.testing.assert_allclose(cloud.vertices, turn_gaussians(g, Y_UP).means[0].numpy(), atol=1e-6)


def test_glb_nodes_and_integers(tmp_path, generator):
    """A node moves, turns and scales what it holds; rotations may be normalised shorts."""
    g = scattered(generator, n=20, degree=1)
    g.save(tmp_path / "g.glb", world="y_up")
    document, binary = read_container(tmp_path / "g.glb")
    half = 2**-0.5
    document["nodes"] = [
        {"children": [1], "translation": [1, 2, 3], "rotation": [0, half, 0, half], "scale": [2, 2, 2]},
        {"mesh": 0},
    ]
    primitive = document["meshes"][0]["primitives"][0]
    rotations = torch.nn.functional.normalize(g.quats[0], dim=-1).roll(-1, dims=-1).numpy()
    shorts = np.round(rotations * 32767).astype("<i2")
    document["bufferViews"].append({"buffer": 0, "byteOffset": len(binary), "byteLength": shorts.nbytes})
    view = len(document["bufferViews"]) - 1
    document["accessors"].append(
        {"bufferView": view, "componentType": 5122, "count": 20, "type": "VEC4", "normalized": True}
    )
    primitive["attributes"]["KHR_gaussian_splatting:ROTATION"] = len(document["accessors"]) - 1
    write_container(tmp_path / "n.glb", document, [np.frombuffer(binary, np.uint8), shorts])
    found = Gaussians.load(tmp_path / "n.glb", world="y_up")
    turn = torch.tensor([[[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]])
    turned = turn_gaussians(g, turn)
    moved = replace(turned, means=2 * turned.means + torch.tensor([1.0, 2, 3]), scales=2 * turned.scales)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BOUNDS, "glb", (1e-4, 1e-3, 1e-5, 1e-6, 1e-6, 1e-5))
        close(found, moved, "glb")
    document["nodes"][0]["scale"] = [1, 2, 2]
    write_container(tmp_path / "n.glb", document, [np.frombuffer(binary, np.uint8), shorts])
    with pytest.raises(InputError, match="evenly"):
        Gaussians.load(tmp_path / "n.glb")


def test_a_glb_of_points_holds_no_gaussians(tmp_path):
    from geometry.formats.glb import write_glb

    write_glb(tmp_path / "p.glb", np.zeros((3, 3)), np.zeros((3, 3), np.uint8))
    with pytest.raises(InputError, match="KHR_gaussian_splatting"):
        Gaussians.load(tmp_path / "p.glb")


# --- What people's PLY files hold ---


def test_ply_comments_name_antialiasing_and_colour_space(tmp_path, generator):
    for antialiased, word in ((False, "default"), (True, "mip")):
        scattered(generator, n=2, antialiased=antialiased).save(tmp_path / "g.ply")
        _, comments = read_elements(tmp_path / "g.ply")
        assert comments == [f"SplatRenderMode: {word}", "ColorSpace: srgb_rec709_display"]
    data = (tmp_path / "g.ply").read_bytes()
    (tmp_path / "g.ply").write_bytes(data.replace(b"SplatRenderMode: mip", b"antialiased 0" + b" " * 900))
    assert not Gaussians.load(tmp_path / "g.ply").antialiased


def rewritten(tmp_path, generator, change, n=30, degree=1) -> np.ndarray:
    """A PLY of ours with its vertices changed; returns them."""
    g = scattered(generator, n=n, degree=degree)
    g.save(tmp_path / "g.ply")
    vertices = change(read_elements(tmp_path / "g.ply")[0]["vertex"].copy())
    write_elements(
        tmp_path / "g.ply", [("vertex", vertices.dtype, len(vertices), [vertices])], comments=["x" * 1100]
    )
    return vertices


def without(vertices: np.ndarray, *names: str, **more: tuple[str, np.ndarray]) -> np.ndarray:
    kept = [n for n in vertices.dtype.names if n not in names]
    out = np.zeros(len(vertices), [(n, "<f4") for n in kept] + [(n, kind) for n, (kind, _) in more.items()])
    for name in kept:
        out[name] = vertices[name]
    for name, (_, values) in more.items():
        out[name] = values
    return out


@pytest.mark.parametrize("ending", ["ply", "compressed.ply"])
def test_gaussians_that_are_not_finite_are_left_out_on_reading_and_counted(tmp_path, generator, ending):
    def change(vertices):
        vertices["x"][3] = np.nan
        vertices["scale_0"][5] = np.inf
        vertices["rot_0"][7] = np.nan
        return vertices

    rewritten(tmp_path, generator, change)
    said = []
    with listening(said.append):
        g = Gaussians.load(tmp_path / "g.ply")
    assert g.means.shape == (1, 27, 3)
    assert all(bool(t.isfinite().all()) for t in (g.means, g.scales, g.quats, g.opacities, g.sh))
    assert len(said) == 1
    assert "left out 3 of 30 Gaussians" in said[0]


def test_a_ply_with_colours_instead_of_sh(tmp_path, generator):
    colours = {name: ("u1", np.full(30, value)) for name, value in (("red", 255), ("green", 0), ("blue", 51))}

    def change(vertices):
        names = [n for n in vertices.dtype.names if n.startswith("f_")]
        return without(vertices, *names, **colours)

    rewritten(tmp_path, generator, change)
    sh = Gaussians.load(tmp_path / "g.ply").sh
    assert_close(sh * SH_C0 + 0.5, torch.tensor([1.0, 0, 0.2]).expand(1, 30, 1, 3))


def test_2d_gaussians_are_flat(tmp_path, generator):
    wanted = rewritten(tmp_path, generator, lambda vertices: without(vertices, "scale_2"))
    scales = Gaussians.load(tmp_path / "g.ply").scales[0]
    assert_close(scales[:, 0], torch.from_numpy(np.exp(wanted["scale_0"])))
    assert (scales[:, 2] <= 0.0011 * scales.amax(dim=-1)).all()
    assert (scales > 0).all()


def test_a_point_cloud_is_named_as_such(tmp_path, generator):
    names = ["opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    rewritten(tmp_path, generator, lambda vertices: without(vertices, *names))
    with pytest.raises(InputError, match="a point cloud"):
        Gaussians.load(tmp_path / "g.ply")


def test_a_compressed_ply_may_be_called_ply_and_lack_colour_ranges(tmp_path, generator):
    g = scattered(generator)
    g.save(tmp_path / "g.compressed.ply")
    (tmp_path / "h.ply").write_bytes((tmp_path / "g.compressed.ply").read_bytes())
    close(Gaussians.load(tmp_path / "h.ply"), g, "compressed.ply")


# --- What they look like ---


@pytest.fixture
def seen(generator) -> tuple[Gaussians, Cameras]:
    g = scattered(generator, n=120)
    g = replace(g, means=0.6 * g.means + torch.tensor([0.0, 0, 6]), scales=5 * g.scales, sh=0.5 * g.sh)
    extrinsics = torch.eye(4).repeat(1, 2, 1, 1)
    extrinsics[0, 1, 0, 3] = 1.0
    K = torch.tensor([[40.0, 0, 20], [0, 40, 16], [0, 0, 1]])
    return g, Cameras(extrinsics=extrinsics, intrinsics=K.expand(1, 2, 3, 3))


@pytest.mark.parametrize(
    ("ending", "least_db"),
    [("ply", 60), ("glb", 60), ("spz", 35), ("compressed.ply", 35), ("sog", 32), ("splat", 20)],
)
def test_the_file_looks_like_the_gaussians(tmp_path, seen, ending, least_db):
    g, cameras = seen
    g.save(tmp_path / f"g.{ending}")
    found = Gaussians.load(tmp_path / f"g.{ending}")
    before, after = (x.render(cameras, (32, 40), backend="torch").rgb[0] for x in (g, found))
    assert before.std() > 0.05
    assert psnr(after, before).min() > least_db


def test_render_draws_antialiased_gaussians_as_such(seen):
    g, cameras = seen
    g = replace(g, scales=0.02 * g.scales)
    plain, soft = (g.marked(mode).render(cameras, (32, 40), backend="torch").alpha for mode in (False, True))
    assert soft.sum() < 0.9 * plain.sum()
    kept = turn_gaussians(g.marked(True)[:, :5], Y_UP)
    assert kept.antialiased
    assert not kept.marked(False).antialiased
    assert all(isinstance(field, torch.Tensor) for field in vars(kept).values())  # as of every record


def test_spz_keeps_its_old_readers(tmp_path, generator):
    """Version 2 is still written when asked for."""
    g = scattered(generator, n=9)
    spz.write(tmp_path / "g.spz", g, version=2)
    assert struct.unpack_from("<II", gzip.decompress((tmp_path / "g.spz").read_bytes()))[1] == 2
