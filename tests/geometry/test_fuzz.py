"""Whatever bytes a file holds, its reader gives a result or one line: no traceback, no hang, no memory."""

import json
import warnings
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scenes import make_room, names_of, write_room, write_transforms

from geometry.datasets import tanks_log
from geometry.errors import InputError
from geometry.formats import colmap, images
from geometry.scenes import polycam
from geometry.scenes.photo_files import match_names
from geometry.scenes.photos import open_photos

EXAMPLES = [60, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["set", "insert", "delete", "cut"]),
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, b"\0" * 8, b"9" * 40])),
    ),
    min_size=1,
    max_size=4,
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.text(max_size=9), st.floats(), st.integers(-3, 9),
    st.sampled_from([1e308, -1e308, 10**400, [], {}, [[]], "../..", "C:\\a", "\0"]),
)  # fmt: skip


def hold(read, strategy, examples):
    """Nothing but an `InputError` of one line, and warnings, come out of ``read``."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < 1000,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def example(drawn):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            message = ""
            try:
                read(drawn)
            except InputError as error:
                message = str(error)
            assert "\n" not in message

    example()


def edited(content, edits):
    for place, kind, new in edits:
        at = int(place * len(content))
        after = {"set": at + len(new), "insert": at, "delete": at + len(new), "cut": len(content)}[kind]
        content = content[:at] + (new if kind in ("set", "insert") else b"") + content[after:]
    return content


def places(value, path=()):
    """Where in a JSON value something could be replaced."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def replaced(content, changes):
    content = {"root": deepcopy(content)}
    for at, new in changes:
        paths = [path for path in places(content) if path]
        *path, key = paths[at % len(paths)]
        holder = content
        for step in path:
            holder = holder[step]
        holder[key] = new
    return json.dumps(content["root"]).encode()


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), SCALARS), min_size=1, max_size=3)


@pytest.fixture
def no_large_photos(monkeypatch):
    monkeypatch.setattr(images, "MOST_PIXELS", 10**7)


def load(scene):
    for frame in scene.frames:
        frame.load()
        frame.load_depth()
        frame.load_mask()


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("strategy", [EDITS, CHANGES], ids=["bytes", "values"])
def test_transforms_json(tmp_path, examples, strategy):
    room = make_room(2, (24, 32))
    write_room(tmp_path / "images", room)
    path = tmp_path / "transforms.json"
    write_transforms(path, room)
    content = json.loads(path.read_text()) | {
        "k1": 0.1,
        "distortion_params": [0.1, 0, 0],
        "camera_angle_x": 1,
    }
    content["frames"][0] |= {"mask_path": "images/frame_1.png", "depth_file_path": "images/frame_2.png"}

    def read(changes):
        new = (
            replaced(content, changes)
            if strategy is CHANGES
            else edited(json.dumps(content).encode(), changes)
        )
        path.write_bytes(new)
        load(open_photos(tmp_path))

    hold(read, strategy, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
@pytest.mark.parametrize("suffix", [".txt", ".bin"])
def test_colmap(tmp_path, examples, name, suffix):
    room = make_room(2, (24, 32))
    write_room(tmp_path / "images", room)
    points = {"points": np.ones((9, 3)), "colours": np.ones((9, 3), np.uint8), "seen_by": np.arange(9) % 2}
    E, K = np.stack([v.extrinsics for v in room]), np.stack([v.intrinsics for v in room])
    model = colmap.model_from_cameras(names_of(2), E, K, [(24, 32)] * 2, **points)
    colmap.write_model(tmp_path / "sparse", model, binary_form=suffix == ".bin")
    path = tmp_path / f"sparse/{name}{suffix}"
    content = path.read_bytes()

    def read(edits):
        path.write_bytes(edited(content, edits))
        open_photos(tmp_path)

    hold(read, EDITS, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp", "jp2", "avif"])
def test_photos(tmp_path, examples, suffix, no_large_photos):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = 6
    try:
        Image.effect_noise((40, 30), 50).convert("RGB").save(path, exif=exif)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {suffix}")
    content = path.read_bytes()

    def read(edits):
        path.write_bytes(edited(content, edits))
        load(open_photos(tmp_path))
        images.read_exif_lens(path)

    hold(read, EDITS, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_polycam(tmp_path, examples):
    write_room(tmp_path / "images", make_room(1, (24, 32)))
    (tmp_path / "cameras").mkdir()
    numbers = {f"t_{i}{j}": float(i == j) for i in range(3) for j in range(4)}
    content = numbers | {"fx": 30.0, "fy": 30.0, "cx": 16.0, "cy": 12.0, "width": 32, "height": 24}

    def read(changes):
        (tmp_path / "cameras/frame_1.json").write_bytes(replaced(content, changes))
        polycam.read_scene(tmp_path / "cameras", tmp_path / "images")

    hold(read, CHANGES, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_trajectories(tmp_path, examples):
    lines = ["0 0 0", "1 0 0 0", "0 1 0 0", "0 0 1 0", "0 0 0 1"] * 2
    content = "\n".join(lines).encode()

    def read(edits):
        (tmp_path / "a.log").write_bytes(edited(content, edits))
        tanks_log.read_log(tmp_path / "a.log")

    hold(read, EDITS, examples)


NAMES = st.lists(st.text("aAbé\\/. 1", min_size=1, max_size=8), unique=True, max_size=8)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_names_never_share_a_file(examples):
    def read(drawn):
        names, files = drawn
        found = match_names(names, files)
        assert list(found) == names
        used = [file for file in found.values() if file is not None]
        assert len(set(used)) == len(used)
        assert set(used) <= set(files)
        assert all(found[name] == name for name in names if name in files)

    hold(read, st.tuples(NAMES, NAMES), examples)
