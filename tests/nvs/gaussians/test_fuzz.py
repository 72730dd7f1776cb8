"""Whatever bytes a splat file holds, reading it gives Gaussians or one line; giants come out smaller."""

import gzip
import io
import json
import struct
import tracemalloc
import zipfile

import pytest
import torch
from fuzzing import CHANGES, EDITS, EXAMPLES, edited, hold, replaced
from PIL import Image
from scenes import make_gaussians

from geometry.console import listening
from geometry.errors import InputError
from nvs.gaussians import Gaussians
from nvs.gaussians.capping import capped


def some():
    return make_gaussians(6, torch.Generator().manual_seed(0), degree=1)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize(
    "ending", ["ply", "compressed.ply", "splat", "spz", "spz inside", "spz 4", "sog", "glb"]
)
def test_bytes_of_splat_files(tmp_path, examples, ending):
    path = tmp_path / f"g.{ending.split(' ')[0]}"
    if ending == "spz 4":
        pytest.importorskip("zstandard")
    some().save(path, **({"version": 4} if ending == "spz 4" else {}))
    content = path.read_bytes()
    inside = gzip.decompress(content) if ending == "spz inside" else b""

    def read(edits):
        path.write_bytes(gzip.compress(edited(inside, edits), 1) if inside else edited(content, edits))
        Gaussians.load(path)

    hold(read, EDITS, examples)


@pytest.mark.extended
@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("ending", ["sog", "glb"])
def test_values_of_splat_files(tmp_path, examples, ending):
    path = tmp_path / f"g.{ending}"
    some().save(path)
    if ending == "sog":
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        document = json.loads(files.pop("meta.json"))
    else:
        data = path.read_bytes()
        length = int.from_bytes(data[12:16], "little")
        document, binary = json.loads(data[20 : 20 + length]), data[20 + length :]

    def read(changes):
        text = replaced(document, changes)
        if ending == "sog":
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in {**files, "meta.json": text}.items():
                    archive.writestr(name, content)
        else:
            text += b" " * (-len(text) % 4)
            header = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(binary), len(text), b"JSON")
            path.write_bytes(header + text + binary)
        Gaussians.load(path)

    hold(read, CHANGES, examples)


def test_a_node_below_itself_ends(tmp_path):
    path = tmp_path / "g.glb"
    some().save(path)
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    document["nodes"][0]["children"] = [0]
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    path.write_bytes(data[:12] + struct.pack("<I", len(text)) + data[16:20] + text + data[20 + length :])
    with pytest.raises(InputError, match="tree of nodes"):
        Gaussians.load(path)


def test_small_files_that_unpack_to_large_ones_are_refused(tmp_path):
    header = struct.pack("<IIIBBBB", 0x5053474E, 3, 1, 0, 12, 0, 0)
    with gzip.open(tmp_path / "a.spz", "wb") as file:
        file.write(header + bytes(64 << 20))
    tracemalloc.start()
    assert Gaussians.load(tmp_path / "a.spz").means.shape[1] == 1
    assert tracemalloc.get_traced_memory()[1] < 8 << 20  # what lies behind is not unpacked
    tracemalloc.stop()
    many = struct.pack("<IIIBBBB", 0x5053474E, 3, 2**32 - 1, 3, 12, 0, 0)
    (tmp_path / "b.spz").write_bytes(gzip.compress(many))
    with pytest.raises(InputError, match="expected at most"):
        Gaussians.load(tmp_path / "b.spz")
    (tmp_path / "c.ply").write_bytes(
        b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999999\nproperty float x\nend_header\n"
    )
    with pytest.raises(InputError, match="too short"):
        Gaussians.load(tmp_path / "c.ply")


def test_pictures_of_a_sog_come_from_its_own_folder(tmp_path):
    (tmp_path / "scene").mkdir()
    some().save(tmp_path / "g.sog")
    with zipfile.ZipFile(tmp_path / "g.sog") as archive:
        archive.extractall(tmp_path / "scene")
    meta = json.loads((tmp_path / "scene/meta.json").read_text())
    name = meta["sh0"]["files"][0]
    (tmp_path / "scene" / name).rename(tmp_path / name)
    meta["sh0"]["files"] = [f"../{name}"]
    (tmp_path / "scene/meta.json").write_text(json.dumps(meta))
    with pytest.raises(InputError, match=name):
        Gaussians.load(tmp_path / "scene/meta.json")


def test_a_picture_of_a_sog_is_no_other_kind_of_file(tmp_path):
    """Only the decoders that the format needs see its bytes."""
    some().save(tmp_path / "g.sog")
    with zipfile.ZipFile(tmp_path / "g.sog") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "TIFF")
    with zipfile.ZipFile(tmp_path / "g.sog", "w") as archive:
        for name, content in {**files, "quats.webp": picture.getvalue()}.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"quats\.webp"):
        Gaussians.load(tmp_path / "g.sog")


@pytest.mark.parametrize("ending", ["ply", "glb"])
def test_a_giant_comes_out_smaller_and_is_said(tmp_path, ending):
    g = some()
    g.scales[0, 2] = torch.tensor([1e6, 1e-3, 50.0])
    g.means[0, 4], g.scales[0, 4] = 200.0, 150.0  # large and as far away: a piece of sky
    g.save(tmp_path / f"g.{ending}")
    said = []
    with listening(said.append):
        loaded = Gaussians.load(tmp_path / f"g.{ending}")
    assert "1 Gaussian would cover every picture" in said[0]
    reach = float((g.means[0] - g.means[0].median(dim=0).values).norm(dim=-1).median())
    torch.testing.assert_close(loaded.scales[0, 2], torch.tensor([reach, 1e-3, reach]), rtol=0.5, atol=1e-6)
    others = [0, 1, 3, 4, 5]
    torch.testing.assert_close(loaded.scales[0, others], g.scales[0, others])
    assert capped(g)[1] == 1
