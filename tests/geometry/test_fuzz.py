"""Whatever bytes a file holds, its reader gives a result or one line: no traceback, no hang, no memory."""

import json
import zipfile

import h5py
import numpy as np
import pytest
import torch
from fuzzing import CHANGES, EDITS, EXAMPLES, edited, hold, replaced
from hypothesis import strategies as st
from PIL import Image
from scenes import make_room, names_of, write_colmap_text, write_room, write_transforms

from geometry.datasets import tanks_log
from geometry.engine.checkpoint import load_weights, write_checkpoint
from geometry.formats import colmap, depth_files, images, safe_pickle
from geometry.scenes import apps
from geometry.scenes.photo_files import match_names
from geometry.scenes.photos import open_photos
from geometry.training.labels import read_label, write_label
from geometry.weights.checkpoint import FORMAT, read_checkpoint
from geometry.weights.files import write_safetensors

pytestmark = pytest.mark.extended  # whole runs, seconds each


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
    (colmap.write_model if suffix == ".bin" else write_colmap_text)(tmp_path / "sparse", model)
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


def numbers(values):
    return " ".join(map(str, np.ravel(values)))


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("app", ["Polycam", "3D Scanner App", "Record3D"])
def test_apps_of_json(tmp_path, examples, app):
    """Their values, among them as many numbers as a matrix has, and none of the right kind."""
    write_room(tmp_path / "images", make_room(1, (24, 32)))
    pose = {f"t_{i}{j}": float(i == j) for i in range(3) for j in range(4)}
    sizes = {"fx": 30.0, "fy": 30.0, "cx": 16.0, "cy": 12.0, "width": 32, "height": 24}
    matrices = {
        "cameraPoseARFrame": numbers(np.eye(4)).split(),
        "intrinsics": [30, 0, 16, 0, 30, 12, 0, 0, 1],
    }
    poses = {"poses": [[0, 0, 0, 1, 0, 0, 0]] * 2, "K": [30, 0, 0, 0, 30, 0, 16, 12, 1], "w": 32, "h": 24}
    content, name = {
        "Polycam": (pose | sizes, "cameras/frame_1.json"),
        "3D Scanner App": (matrices, "images/frame_1.json"),
        "Record3D": (poses, "metadata.json"),
    }[app]
    (tmp_path / "cameras").mkdir()

    def read(changes):
        (tmp_path / name).write_bytes(replaced(content, changes))
        load(open_photos(tmp_path))

    hold(read, CHANGES, examples)


METASHAPE = f"""<document><chunk><sensors><sensor id="0" type="frame"><resolution width="32" height="24"/>
<calibration class="adjusted"><f>30</f><cx>1</cx><k1>0.01</k1></calibration></sensor></sensors>
<components><component id="0"><transform><rotation>{numbers(np.eye(3))}</rotation>
<translation>1 2 3</translation><scale>2</scale></transform></component></components>
<cameras><camera sensor_id="0" component_id="0" label="frame_1">
<transform>{numbers(np.eye(4))}</transform></camera></cameras></chunk></document>"""
SIDECAR = f"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><a xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#"
xcr:FocalLength35mm="30" xcr:DistortionModel="brown3"><xcr:Rotation>{numbers(np.eye(3))}</xcr:Rotation>
<xcr:Position>1 2 3</xcr:Position><xcr:DistortionCoeficients>0 0.1 0 0 0 0</xcr:DistortionCoeficients></a>
</x:xmpmeta>"""
TABLE = """#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2
frame_1.png,1,2,3,10,20,30,28,0.01,0.02,0.1,0,0,0,0,0
"""
TEXTS = {"cameras.xml": METASHAPE, "images/frame_1.xmp": SIDECAR, "cameras.csv": TABLE}


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("name", TEXTS)
def test_apps_of_text(tmp_path, examples, name):
    write_room(tmp_path / "images", make_room(1, (24, 32)))

    def read(edits):
        (tmp_path / name).write_bytes(edited(TEXTS[name].encode(), edits))
        load(open_photos(tmp_path))

    hold(read, EDITS, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_archives_of_record3d(tmp_path, examples):
    write_room(tmp_path / "images", make_room(1, (24, 32)))
    path = tmp_path / "a.r3d"
    metadata = {"poses": [[0, 0, 0, 1, 0, 0, 0]], "K": [30, 0, 0, 0, 30, 0, 16, 12, 1], "w": 32, "h": 24}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata", json.dumps(metadata))
        archive.write(tmp_path / "images/frame_1.png", "rgbd/0.png")
    content = path.read_bytes()

    def read(edits):
        path.write_bytes(edited(content, edits))
        load(open_photos(path))

    hold(read, EDITS, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_videos_with_a_log(tmp_path, examples):
    (tmp_path / "rgb.mp4").write_bytes(b"")
    (tmp_path / "camera_matrix.csv").write_text("30,0,16\n0,30,12\n0,0,1")
    lines = "timestamp, frame, x, y, z, qx, qy, qz, qw\n0.1, 000000, 1, 2, 3, 0, 0, 0, 1\n"

    def read(edits):
        (tmp_path / "odometry.csv").write_bytes(edited(lines.encode(), edits))
        with pytest.MonkeyPatch.context() as patch:  # ffmpeg takes a twentieth of a second
            patch.setattr("geometry.scenes.video.probe", lambda path: ([0.0], False))
            patch.setattr("geometry.scenes.video.read_frame", lambda *_: np.zeros((24, 32, 3), np.uint8))
            apps.read_scene(tmp_path / "odometry.csv", tmp_path)

    hold(read, EDITS, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
@pytest.mark.parametrize("suffix", ["npy", "pfm", "h5", "png", "npz", "label"])
def test_depth_and_labels(tmp_path, examples, suffix):
    path, depth = tmp_path / f"a.{suffix}", np.linspace(0, 2, 12, dtype=np.float32).reshape(3, 4)
    reader = depth_files.find_depth
    if suffix == "npy":
        np.save(path, depth)
    elif suffix == "pfm":
        path.write_bytes(b"Pf\n4 3\n-1.0\n" + depth.tobytes())
    elif suffix == "h5":
        with h5py.File(path, "w") as file:
            file["depth"] = depth
    elif suffix == "png":
        Image.fromarray((depth * 1000).astype(np.uint16)).save(path)
    elif suffix == "npz":
        np.savez(path, names=np.array([None, (1, 2)], dtype=object), depth=depth)
        reader = None
    else:
        write_label(path, depth)
    content = path.read_bytes()

    def read(edits):
        path.write_bytes(edited(content, edits))
        if suffix == "label":
            read_label(path)
        elif reader is None:
            safe_pickle.load_objects(path)
        else:
            reader(tmp_path, "a", unit=1e-3)()

    hold(read, EDITS, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_checkpoints(tmp_path, examples):
    path = tmp_path / "a.safetensors"
    tensors = {"head.gaussians.a": torch.zeros(2), "b": torch.zeros(3)}
    write_safetensors(path, tensors, {"format": FORMAT, "variant": "tiny", "released": "false"})
    content = path.read_bytes()

    def read(edits):
        path.write_bytes(edited(content, edits))
        read_checkpoint(path)

    hold(read, EDITS, examples)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_checkpoints_of_training(tmp_path, examples):
    """A file that is not what was written is damage; one with the right sum is read without running code."""
    meta = {"config": {}, "metrics": {}}
    folder = write_checkpoint(tmp_path, 3, {"model.a": torch.zeros(2)}, {"best": None}, meta).result()
    names = ["shard-00001-model-00001-of-00001.safetensors", "meta.json"]
    contents = {name: (folder / name).read_bytes() for name in names}

    def read(drawn):
        which, edits = drawn
        for name, content in contents.items():
            (folder / name).write_bytes(edited(content, edits) if name == names[which] else content)
        load_weights(folder)

    hold(read, st.tuples(st.integers(0, 1), EDITS), examples)


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
