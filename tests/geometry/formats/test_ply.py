import struct

import numpy as np
import pytest
from numpy.lib.recfunctions import structured_to_unstructured

from geometry.errors import InputError
from geometry.formats.ply import read_elements, write_elements, write_points


@pytest.fixture
def cloud():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 3)).astype(np.float32), rng.integers(0, 256, (50, 3), dtype=np.uint8)


def test_read_back(tmp_path, cloud):
    points, colours = cloud
    write_points(tmp_path / "a.ply", points, colours)
    ours = read_elements(tmp_path / "a.ply")[0]["vertex"]
    np.testing.assert_array_equal(structured_to_unstructured(ours[["x", "y", "z"]]), points)
    np.testing.assert_array_equal(structured_to_unstructured(ours[["red", "green", "blue"]]), colours)
    write_points(tmp_path / "c.ply", points[:0], colours[:0])
    assert len(read_elements(tmp_path / "c.ply")[0]["vertex"]) == 0


def test_every_byte_of_a_small_file(tmp_path):
    write_points(tmp_path / "a.ply", np.array([[1.0, -2, 0.5]]), np.array([[255, 0, 7]], np.uint8))
    header = (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\n"
        b"property float x\nproperty float y\nproperty float z\n"
        b"property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    )
    assert (tmp_path / "a.ply").read_bytes() == header + struct.pack("<3f3B", 1, -2, 0.5, 255, 0, 7)


def test_another_reader_agrees(tmp_path, cloud):
    trimesh = pytest.importorskip("trimesh")  # comes with the viewer
    points, colours = cloud
    write_points(tmp_path / "a.ply", points, colours)
    theirs = trimesh.load(tmp_path / "a.ply")
    np.testing.assert_array_equal(np.asarray(theirs.vertices, np.float32), points)
    np.testing.assert_array_equal(theirs.visual.vertex_colors[:, :3], colours)


def test_meshes_of_either_byte_order(tmp_path):
    header = (
        "ply\nformat binary_big_endian 1.0\ncomment made by hand\nelement camera 1\nproperty double f\n"
        "element vertex 2\nproperty double x\nproperty float y\nproperty short z\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    )
    vertices = np.array([(1, 2, 3), (4, 5, -6)], dtype=[("x", ">f8"), ("y", ">f4"), ("z", ">i2")])
    camera = np.array([7.0], dtype=">f8")
    (tmp_path / "a.ply").write_bytes(header.encode() + camera.tobytes() + vertices.tobytes() + b"\3\0\0\0\0")
    found = read_elements(tmp_path / "a.ply")[0]["vertex"]
    np.testing.assert_array_equal(structured_to_unstructured(found), [[1, 2, 3], [4, 5, -6]])


def test_pieces_must_add_up_and_a_failed_write_leaves_nothing(tmp_path):
    dtype = np.dtype([("x", "<f4")])
    pieces = [np.zeros(2, dtype), np.ones(3, dtype)]
    write_elements(tmp_path / "a.ply", [("vertex", dtype, 5, pieces)])
    np.testing.assert_array_equal(read_elements(tmp_path / "a.ply")[0]["vertex"]["x"], [0, 0, 1, 1, 1])
    with pytest.raises(ValueError, match="6 elements 'vertex' were announced and 5 given"):
        write_elements(tmp_path / "b.ply", [("vertex", dtype, 6, pieces)])
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not start"),
        (b"\x89PNG", "does not start"),
        (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "binary"),
        (b"ply\nformat binary_little_endian 1.0\n", "end_header"),
        (b"ply\nelement vertex 1\nproperty float x\nend_header\n", "end_header"),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex many\nend_header\n", "vertex many"),
        (b"ply\nformat binary_little_endian 1.0\nproperty float x\nend_header\n", "property float x"),
        (
            b"ply\nformat binary_little_endian 1.0\nelement vertex 9\nproperty float x\nend_header\n12",
            "short",
        ),
        (b"ply\nformat binary_little_endian 1.0\nelement face 0\nproperty int i\nend_header\n", "'vertex'"),
    ],
)
def test_bad_files_give_one_line_that_names_them(tmp_path, content, message):
    (tmp_path / "bad.ply").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_elements(tmp_path / "bad.ply")[0]["vertex"]
    assert "bad.ply" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_elements(tmp_path / "absent.ply")[0]["vertex"]
