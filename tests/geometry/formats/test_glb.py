import json
import struct

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from geometry.formats.glb import frustum_depth, frustum_lines, write_glb

DTYPES = {5126: "<f4", 5123: "<u2"}
WIDTHS = {"VEC3": 3, "VEC4": 4}


def read_glb(path) -> tuple[dict, dict[str, dict[str, np.ndarray]]]:
    """The document, and positions and colours by mesh name; checks what the format demands of the frame."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    assert size % 4 == 0
    document = json.loads(data[20 : 20 + size])
    if "meshes" not in document:
        assert 20 + size == len(data)
        return document, {}
    start = 20 + size
    binary_size, kind = struct.unpack_from("<I4s", data, start)
    assert kind == b"BIN\0"
    binary = data[start + 8 :]
    assert len(binary) == binary_size == document["buffers"][0]["byteLength"]
    assert binary_size % 4 == 0
    meshes = {}
    for mesh in document["meshes"]:
        arrays = {}
        for name, index in mesh["primitives"][0]["attributes"].items():
            accessor = document["accessors"][index]
            view = document["bufferViews"][accessor["bufferView"]]
            assert view["byteOffset"] % 4 == 0
            width = WIDTHS[accessor["type"]]
            array = np.frombuffer(
                binary, DTYPES[accessor["componentType"]], accessor["count"] * width, view["byteOffset"]
            )
            assert array.nbytes == view["byteLength"]
            arrays[name] = array.reshape(-1, width)
            if name == "POSITION":
                assert accessor["min"] == arrays[name].min(axis=0).tolist()
                assert accessor["max"] == arrays[name].max(axis=0).tolist()
        meshes[mesh["name"]] = arrays | {"mode": mesh["primitives"][0]["mode"]}
    return document, meshes


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 3)).astype(np.float32), rng.integers(0, 256, (50, 3), dtype=np.uint8)


def cameras(count: int = 3) -> dict:
    extrinsics = np.tile(np.eye(4), (count, 1, 1))
    extrinsics[:, :3, :3] = Rotation.random(count, random_state=0).as_matrix()
    extrinsics[:, :3, 3] = np.arange(3.0 * count).reshape(count, 3)
    K = np.array([[100.0, 0, 40], [0, 90, 35], [0, 0, 1]])
    return {
        "extrinsics": extrinsics,
        "intrinsics": np.tile(K, (count, 1, 1)),
        "image_sizes": [(60, 80)] * count,
    }


def test_points_and_linear_colours(tmp_path, cloud):
    points, colours = cloud
    colours[0], colours[1] = (0, 255, 128), (11, 10, 188)
    write_glb(tmp_path / "a.glb", points, colours)
    document, meshes = read_glb(tmp_path / "a.glb")
    assert meshes["points"]["mode"] == 0
    np.testing.assert_array_equal(meshes["points"]["POSITION"], points)
    linear = meshes["points"]["COLOR_0"] / 65535
    np.testing.assert_allclose(linear[0], [0, 1, 0.2158605, 1], atol=1e-5)
    np.testing.assert_allclose(linear[1], [0.0033465, 0.0030353, 0.5028865, 1], atol=1e-5)
    assert document["nodes"][0]["rotation"] == [1, 0, 0, 0]


def test_frusta_are_lines_in_the_cloud_world(tmp_path, cloud):
    write_glb(tmp_path / "a.glb", *cloud, **cameras())
    document, meshes = read_glb(tmp_path / "a.glb")
    assert meshes["cameras"]["mode"] == 1
    lines = meshes["cameras"]["POSITION"].reshape(3, 10, 2, 3)
    np.testing.assert_allclose(lines, frustum_lines(**cameras(), depth=frustum_depth(cloud[0])), atol=1e-5)
    assert document["nodes"][0]["children"] == [1, 2]
    colours = meshes["cameras"]["COLOR_0"].reshape(3, 20, 4)
    assert (colours == colours[:, :1]).all()
    assert len({tuple(c) for c in colours[:, 0].tolist()}) == 3


def test_frustum_corners_project_to_image_corners():
    c = cameras()
    lines = frustum_lines(**c, depth=2.0)
    for v in range(3):
        outline = lines[v, 4:8, 0]
        local = outline @ c["extrinsics"][v, :3, :3].T + c["extrinsics"][v, :3, 3]
        np.testing.assert_allclose(local[:, 2], 2.0)
        pixels = local @ c["intrinsics"][v].T
        np.testing.assert_allclose(
            pixels[:, :2] / pixels[:, 2:], [[0, 0], [80, 0], [80, 60], [0, 60]], atol=1e-9
        )
        eye = lines[v, 0, 0] @ c["extrinsics"][v, :3, :3].T + c["extrinsics"][v, :3, 3]
        np.testing.assert_allclose(eye, 0, atol=1e-9)


def test_another_reader_agrees(tmp_path, cloud):
    trimesh = pytest.importorskip("trimesh")  # comes with the viewer
    write_glb(tmp_path / "a.glb", *cloud, **cameras())
    scene = trimesh.load(tmp_path / "a.glb")
    np.testing.assert_array_equal(np.asarray(scene.geometry["points"].vertices, np.float32), cloud[0])


def test_nothing_to_show_is_still_a_file(tmp_path, cloud):
    write_glb(tmp_path / "a.glb", cloud[0][:0], cloud[1][:0])
    document, meshes = read_glb(tmp_path / "a.glb")
    assert meshes == {}
    assert document["asset"] == {"version": "2.0"}


def test_infinite_points_are_refused_and_leave_no_file(tmp_path, cloud):
    cloud[0][3, 1] = np.inf
    with pytest.raises(ValueError, match="finite"):
        write_glb(tmp_path / "a.glb", *cloud)
    assert not list(tmp_path.iterdir())
