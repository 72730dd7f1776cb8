"""pixelSplat / DepthSplat chunks: normalised cameras, compressed photos, and no code of theirs run."""

import io
import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import assert_cameras, assert_images

from geometry.datasets.chunks import Chunks
from geometry.errors import InputError


def encoded(image, form):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, **({"quality": 98} if form == "JPEG" else {}))
    return torch.from_numpy(np.frombuffer(buffer.getvalue(), np.uint8).copy())


def content(key, room, form="PNG"):
    H, W = room[0].image.shape[:2]
    (fx, _, cx), (_, fy, cy), _ = room[0].intrinsics
    rows = [[fx / W, fy / H, cx / W, cy / H, 0, 0, *v.extrinsics[:3].flatten()] for v in room]
    return {
        "key": key,
        "url": "",
        "timestamps": torch.arange(len(room)),
        "cameras": torch.tensor(rows, dtype=torch.float32),
        "images": [encoded(v.image, form) for v in room],
    }


def write(root, chunks, legacy=False):
    root.mkdir(parents=True)
    index = {}
    for number, scenes in enumerate(chunks):
        name = f"{number:06d}.torch"
        torch.save(scenes, root / name, _use_new_zipfile_serialization=not legacy)
        index |= {scene["key"]: name for scene in scenes}
    (root / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_scenes_of_chunks(tmp_path, room, form, legacy):
    write(
        tmp_path / "train",
        [[content("aa", room[:1]), content("bb", room, form)], [content("cc", room[1:])]],
        legacy,
    )
    source = Chunks(tmp_path)
    assert source.names == ("aa", "bb", "cc")
    scene = source.read("bb")
    assert_cameras(scene, room, atol=1e-5)
    assert_images(scene, room, atol=0 if form == "PNG" else 3)
    assert len(Chunks(tmp_path / "train").read("cc")) == 2


def test_benchmark_hashes_are_left_out(tmp_path, room):
    bad = "b" * 64
    write(tmp_path / "train", [[content(f"dl3dv_{h}", room[:1]) for h in ("a" * 64, bad)]])
    (tmp_path / "benchmark.txt").write_text(bad)
    assert Chunks(tmp_path, exclude=tmp_path / "benchmark.txt").names == ("dl3dv_" + "a" * 64,)


class Attack:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def test_code_in_a_chunk_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "train", [[{"key": "aa", "x": Attack()}]])
    with pytest.raises(InputError, match=r"000000\.torch: expected tensors and plain values only"):
        Chunks(tmp_path).read("aa")
    assert not (tmp_path / "hacked").exists()


def test_errors_name_file_scene_and_frame(tmp_path, room):
    broken = content("aa", room)
    broken["images"][1] = broken["images"][1][:100]
    lying = content("bb", room)
    lying["cameras"] = lying["cameras"][:, :10]
    turned = content("cc", room)
    turned["cameras"][2, 6:9] *= -1
    write(tmp_path / "train", [[broken, lying, turned]])
    source = Chunks(tmp_path)
    with pytest.raises(InputError, match=r"000000\.torch, scene aa, frame 1: expected a whole image"):
        source.read("aa").frames[1].load()
    with pytest.raises(InputError, match=r"scene bb: expected cameras \[N, 18\]"):
        source.read("bb")
    with pytest.raises(InputError, match=r"scene cc, frame 2: .*mirrored"):
        source.read("cc")


def test_damaged_or_missing_files(tmp_path, room):
    write(tmp_path / "train", [[content("aa", room)]])
    with pytest.raises(InputError, match=r"test/index\.json: expected JSON, the index"):
        Chunks(tmp_path, "test")
    (tmp_path / "train" / "000000.torch").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"000000\.torch: expected"):
        Chunks(tmp_path).read("aa")
