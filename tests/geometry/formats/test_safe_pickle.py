"""Object arrays are read, code in a pickle is not run."""

import io
import os
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from geometry.errors import InputError
from geometry.formats.safe_pickle import load_numpy_pickle, load_objects


def objects(*values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def content():
    return {
        "paths": objects(None, "a/b.jpg", "c.jpg"),
        "poses": objects(None, np.eye(4), np.arange(16.0, dtype=np.float32).reshape(4, 4)),
        "pairs": objects((np.array([1, 2]), 0.5, np.zeros((3, 4))), ((0, 1), np.float64(0.25), b"raw")),
        "seen": objects({7: np.float32([1, 2])}, {}),
        "plain": np.arange(6, dtype=np.int16).reshape(2, 3),
    }


def assert_content(found):
    assert sorted(found) == sorted(content())
    assert found["paths"].tolist() == [None, "a/b.jpg", "c.jpg"]
    np.testing.assert_array_equal(found["poses"][1], np.eye(4))
    assert found["poses"][2].dtype == np.float32
    assert found["pairs"][1][1] == 0.25
    assert found["pairs"][1][2] == b"raw"
    np.testing.assert_array_equal(found["seen"][0][7], [1, 2])
    np.testing.assert_array_equal(found["plain"], [[0, 1, 2], [3, 4, 5]])


def test_archive_with_object_arrays(tmp_path):
    np.savez(tmp_path / "a.npz", **content())
    assert_content(load_objects(tmp_path / "a.npz"))


@pytest.mark.parametrize("protocol", range(2, 6))
def test_bare_pickled_dict_under_that_name(tmp_path, protocol):
    (tmp_path / "a.npz").write_bytes(pickle.dumps(content(), protocol=protocol))
    assert_content(load_objects(tmp_path / "a.npz"))


def test_names_of_numpy_before_version_2(tmp_path):
    data = pickle.dumps(content(), protocol=2).replace(b"numpy._core", b"numpy.core")
    (tmp_path / "a.npz").write_bytes(data)
    assert_content(load_objects(tmp_path / "a.npz"))


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "attack",
    [Attack(os.system, "touch hacked"), Attack(eval, "1"), Attack(np.load, "x"), Attack(np.fromfile, "x")],
)
@pytest.mark.parametrize("form", ["archive", "bare"])
def test_code_is_not_run(tmp_path, monkeypatch, attack, form):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.npz"
    if form == "archive":
        np.savez(path, x=objects(attack, 1))
    else:
        path.write_bytes(pickle.dumps({"x": attack}))
    with pytest.raises(InputError, match=r"a\.npz: .*was not run"):
        load_objects(path)
    assert not (tmp_path / "hacked").exists()


def test_object_scalars_and_array_subclasses_are_refused():
    for attack in (np.ma.masked_array([1]), Attack(np.matrix, [1])):
        with pytest.raises(InputError):
            load_numpy_pickle(io.BytesIO(pickle.dumps(attack)))


@pytest.mark.parametrize(
    "more",
    [pickle.LONG_BINPUT + b"\xff\xff\xff\x0f", pickle.BYTEARRAY8 + (2**31).to_bytes(8, "little")],
    ids=["memory", "bytearray"],
)
def test_no_memory_is_set_aside_for_what_is_not_there(more):
    data = pickle.dumps([1], protocol=2)
    tracemalloc.start()
    with pytest.raises((ValueError, pickle.UnpicklingError)):
        load_numpy_pickle(io.BytesIO(data[:-1] + more + pickle.STOP))
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_damage_is_one_line(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match="no such file"):
        load_objects(path)
    np.savez(path, **content())
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="could not read"):
        load_objects(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00")
    with pytest.raises(InputError, match="could not read"):
        load_objects(path)
