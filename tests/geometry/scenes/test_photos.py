"""What people give as PHOTOS, good and bad."""

import json

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from scenes import (
    NO_POINTS,
    assert_cameras,
    assert_images,
    make_arc,
    save_grey,
    write_colmap_text,
    write_room,
)
from scenes import names_of as room_names

from geometry.errors import InputError
from geometry.formats import colmap
from geometry.scenes import transforms_json
from geometry.scenes.photos import open_photos

SIZE = (60, 80)


def poses(count):
    out = np.tile(np.eye(4), (count, 1, 1))
    out[:, 0, 3] = np.arange(count)
    return out


def intrinsics(count):
    return np.tile([[50.0, 0, 41], [0, 60, 29], [0, 0, 1]], (count, 1, 1))


def write_json(path, names):
    transforms_json.write_scene(path, names, poses(len(names)), intrinsics(len(names)), [SIZE] * len(names))


def write_colmap(folder, names, *, binary=True):
    cameras = poses(len(names)), intrinsics(len(names)), [SIZE] * len(names)
    model = colmap.model_from_cameras(names, *cameras, **NO_POINTS)
    (colmap.write_model if binary else write_colmap_text)(folder, model)


def names_of(scene):
    return [frame.name for frame in scene.frames]


def test_a_folder_in_natural_order_with_mixed_sizes(tmp_path):
    for name, size in [("10.jpg", (60, 80)), ("9.JPG", (80, 60)), ("a.png", (33, 44))]:
        save_grey(tmp_path / name, size)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.jpg").write_text("x")
    scene = open_photos(tmp_path)
    assert names_of(scene) == ["9.JPG", "10.jpg", "a.png"]
    assert [f.image_size for f in scene.frames] == [(80, 60), (60, 80), (33, 44)]
    assert scene.source == "unposed"
    assert scene.name == tmp_path.name


def test_a_list_and_a_single_photo(tmp_path):
    files = [save_grey(tmp_path / f"{i}.png") for i in (3, 20, 1)]
    assert names_of(open_photos(files)) == ["1.png", "3.png", "20.png"]
    assert names_of(open_photos([str(files[1])])) == ["20.png"]
    assert names_of(open_photos(str(files[1]))) == ["20.png"]


def test_equal_names_in_two_folders_stay_apart(tmp_path):
    files = [save_grey(tmp_path / "a/1.png"), save_grey(tmp_path / "b/1.png")]
    assert len(set(names_of(open_photos(files)))) == 2


@pytest.mark.parametrize("start", ["", "images"])
@pytest.mark.parametrize("kind", ["transforms", "sparse/0", "sparse", "colmap/sparse/0"])
def test_cameras_beside_the_photos_are_found(tmp_path, start, kind):
    names = [f"{i}.png" for i in range(3)]
    for name in names:
        save_grey(tmp_path / "images" / name)
    if kind == "transforms":
        write_json(tmp_path / "transforms.json", [f"images/{n}" for n in names])
    else:
        write_colmap(tmp_path / kind, names)
    scene = open_photos(tmp_path / start, check=False)
    assert scene.posed
    np.testing.assert_allclose(scene.extrinsics[:, 0, 3], [0, 1, 2], atol=1e-12)
    assert not open_photos(tmp_path / start, unposed=True).posed


@pytest.mark.parametrize("kind", ["json", "colmap"])
def test_turned_tiff_photos_keep_their_cameras_as_png_do(tmp_path, kind):
    """Orientations 1 to 8 and cameras of the stored pixels, as COLMAP and nerfstudio make them."""
    scenes = {}
    for suffix in ("png", "tif"):
        folder = tmp_path / suffix
        names = [f"{orientation}.{suffix}" for orientation in range(1, 9)]
        (folder / "images").mkdir(parents=True)
        for orientation, name in enumerate(names, start=1):
            exif = Image.Exif()
            exif[0x0112] = orientation
            pixels = np.random.default_rng(orientation).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name, exif=exif)
        if kind == "json":
            write_json(folder / "transforms.json", [f"images/{name}" for name in names])
        else:
            write_colmap(folder / "sparse/0", names)
        scenes[suffix] = open_photos(folder)
    for png, tif in zip(scenes["png"].frames, scenes["tif"].frames, strict=True):
        assert tif.image_size == png.image_size
        np.testing.assert_array_equal(tif.load(), png.load())
        np.testing.assert_array_equal(tif.extrinsics, png.extrinsics)
        np.testing.assert_array_equal(tif.intrinsics, png.intrinsics)


def test_cameras_in_the_folder_itself_and_beside_one_of_any_name(tmp_path):
    for folder in ("flat", "capture/holiday"):
        for i in range(2):
            save_grey(tmp_path / folder / f"{i}.png")
    write_colmap(tmp_path / "flat", ["0.png", "1.png"])
    assert open_photos(tmp_path / "flat", check=False).posed
    write_json(tmp_path / "capture/transforms.json", ["holiday/0.png", "holiday/1.png"])
    assert open_photos(tmp_path / "capture/holiday", check=False).posed


def test_a_file_beside_a_folder_of_any_name_may_belong_to_others(tmp_path):
    save_grey(tmp_path / "holiday/0.png")
    write_json(tmp_path / "transforms.json", ["other/7.png"])
    with pytest.warns(UserWarning, match="they are ignored"):
        assert not open_photos(tmp_path / "holiday").posed


def test_named_poses_come_before_those_found(tmp_path):
    for i in range(2):
        save_grey(tmp_path / f"images/{i}.png")
    write_json(tmp_path / "transforms.json", ["images/0.png", "images/1.png"])
    write_colmap(tmp_path / "else/sparse/0", ["0.png", "1.png"])
    for named in ("else", "else/sparse/0", "else/sparse/0/cameras.bin"):
        scene = open_photos(tmp_path / "images", poses=tmp_path / named, check=False)
        assert scene.source == str(tmp_path / "else/sparse/0")
    with pytest.raises(InputError, match="both"):
        open_photos(tmp_path, poses=tmp_path / "else", unposed=True)
    with pytest.raises(InputError, match="no such file"):
        open_photos(tmp_path, poses=tmp_path / "none.json")


def test_chosen_photos_keep_their_cameras_and_the_rest_stay_out(tmp_path):
    names = [f"{i}.png" for i in range(4)]
    files = [save_grey(tmp_path / "images" / name) for name in names]
    write_json(tmp_path / "transforms.json", [f"images/{n}" for n in names])
    scene = open_photos([files[3], files[1]], check=False)
    np.testing.assert_allclose(scene.extrinsics[:, 0, 3], [1, 3], atol=1e-12)


def test_photos_without_a_camera_are_left_out_and_counted(tmp_path):
    for i in range(3):
        save_grey(tmp_path / f"images/{i}.png")
    write_colmap(tmp_path / "sparse", ["0.png", "2.png"])
    with pytest.warns(UserWarning, match=r"1 of 3 photos have no camera there \(1\.png"):
        assert names_of(open_photos(tmp_path, check=False)) == ["0.png", "2.png"]


def test_a_smaller_copy_of_the_photos(tmp_path):
    """DL3DV: the file describes images/, only images_8/ is here."""
    for i in range(2):
        save_grey(tmp_path / f"images_8/{i}.png", (30, 40))
    write_json(tmp_path / "transforms.json", ["images/0.png", "images/1.png"])
    scene = open_photos(tmp_path, check=False)
    np.testing.assert_allclose(scene.intrinsics[0], [[25, 0, 20.5], [0, 30, 14.5], [0, 0, 1]])


def test_a_video_alone_or_in_a_folder(tmp_path):
    path = tmp_path / "clip.mp4"
    writer = imageio_ffmpeg.write_frames(str(path), (64, 48), fps=5, macro_block_size=8)
    writer.send(None)
    for _ in range(5):
        writer.send(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    assert len(open_photos(path, max_video_frames=3)) == 3
    assert len(open_photos(tmp_path)) == 5
    with pytest.raises(InputError, match="one video alone"):
        open_photos([path, save_grey(tmp_path / "a.png")])


def test_foreign_files_among_photos_are_said(tmp_path):
    save_grey(tmp_path / "1.png")
    (tmp_path / "2.CR2").write_bytes(b"x")
    with pytest.warns(UserWarning, match=r"1 files such as 2\.CR2.*convert it"):
        assert len(open_photos(tmp_path)) == 1


def test_a_preview_beside_the_photos_hides_nothing(tmp_path):
    names = [f"{i}.png" for i in range(3)]
    for name in ("preview.jpg", *(f"images/{n}" for n in names)):
        save_grey(tmp_path / name)
    with pytest.warns(UserWarning, match=r"taken from images, which has 3; .*\(preview\.jpg, 1 in all"):
        assert names_of(open_photos(tmp_path)) == names
    write_colmap(tmp_path / "sparse/0", names)
    assert names_of(open_photos(tmp_path, check=False)) == names


@pytest.mark.parametrize("start", ["", "Images"])
def test_photo_folders_of_any_case_with_a_folder_for_each_camera(tmp_path, start):
    names = [f"cam{i}/0.png" for i in range(3)]
    for name in names:
        save_grey(tmp_path / "Images" / name)
    assert names_of(open_photos(tmp_path / start)) == names
    write_colmap(tmp_path / "sparse/0", names)
    assert open_photos(tmp_path / start, check=False).posed


@pytest.mark.parametrize("binary", [True, False])
def test_of_several_models_the_one_of_most_photos_is_taken(tmp_path, binary):
    names = [f"{i}.png" for i in range(4)]
    for name in names:
        save_grey(tmp_path / "images" / name)
    for model, placed in (("0", names[:2]), ("1", names), ("2", names[1:])):
        write_colmap(tmp_path / "sparse" / model, placed, binary=binary)
    for poses in (None, tmp_path / "sparse"):
        with pytest.warns(UserWarning, match="of 3 models 1 is taken"):
            assert names_of(open_photos(tmp_path, poses=poses, check=False)) == names


def test_a_blender_set_has_a_file_for_each_of_its_folders(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for i in range(count):
            save_grey(tmp_path / f"{split}/r_{i}.png")
        write_json(tmp_path / f"transforms_{split}.json", [f"./{split}/r_{i}" for i in range(count)])
    for start, count in (("", 3), ("train", 3), ("test", 2)):
        scene = open_photos(tmp_path / start, check=False)
        assert (len(scene), scene.posed) == (count, True)


@pytest.mark.parametrize("start", ["", "keyframes", "keyframes/images"])
def test_the_raw_export_of_polycam(tmp_path, start):
    arc = make_arc(4)
    save_grey(tmp_path / "thumbnail.jpg", (20, 30))
    write_room(tmp_path / "keyframes/images", arc)
    (tmp_path / "keyframes/cameras").mkdir()
    for name, view in zip(room_names(4), arc):
        K, (H, W) = view.intrinsics, view.image.shape[:2]
        camera = {f"t_{i}{j}": view.opengl[i, j] for i in range(3) for j in range(4)}
        camera |= {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "width": W, "height": H}
        (tmp_path / f"keyframes/cameras/{name[:-4]}.json").write_text(json.dumps(camera))
    scene = open_photos(tmp_path / start)
    assert_cameras(scene, arc)
    assert_images(scene, arc)
    (tmp_path / "keyframes/cameras/frame_2.json").write_text('{"t_00": 1}')
    with pytest.raises(InputError, match=r"frame_2\.json: expected t_00"):
        open_photos(tmp_path / start)


def test_a_json_of_another_machine_named_itself(tmp_path):
    for i in range(2):
        save_grey(tmp_path / f"images/{i}.png")
    write_json(tmp_path / "transforms.json", [f"C:\\capture\\images\\{i}.png" for i in range(2)])
    assert open_photos(tmp_path / "transforms.json", check=False).posed


@pytest.mark.parametrize("kind", ["none", "json", "colmap"])
def test_photos_that_cannot_be_read_are_left_out_and_counted(tmp_path, kind):
    names = [f"{i}.png" for i in range(4)]
    for name in names:
        save_grey(tmp_path / "images" / name)
    (tmp_path / "images/2.png").write_bytes(b"")
    if kind == "json":
        write_json(tmp_path / "transforms.json", [f"images/{n}" for n in names])
    elif kind == "colmap":
        write_colmap(tmp_path / "sparse", names)
    with pytest.warns(UserWarning, match=r"1 of 4 photos cannot be read .*2\.png.*empty") as caught:
        assert len(open_photos(tmp_path, check=False)) == 3
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="1 of 4 photos"):
        assert len(open_photos([tmp_path / "images" / name for name in names], check=False)) == 3
    with pytest.raises(InputError, match=r"2\.png: expected an image, got an empty file$"):
        open_photos([tmp_path / "images" / name for name in names[1:3]], check=False)


def cut(path):
    path.write_bytes(path.read_bytes()[:50])


BAD = {
    "empty": (lambda d: None, "the folder is empty"),
    "no photos": (lambda d: (d / "notes.txt").write_text("x"), "found 1 other files"),
    "only folders": (lambda d: (d / "sub").mkdir(), "found only folders"),
    "only raw files": (lambda d: (d / "1.cr2").write_bytes(b"x"), r"1\.cr2.*convert"),
    "text as png": (
        lambda d: (d / "a.png").write_text("I am text"),
        r"a\.png: expected an image, got a text",
    ),
    "one pixel": (lambda d: save_grey(d / "dot.png", (1, 1)), r"dot\.png: expected at least 14 x 14"),
    "broken json": (
        lambda d: (save_grey(d / "images/a.png"), (d / "transforms.json").write_text("{")),
        "expected JSON.*unposed",
    ),
    "model of other photos": (
        lambda d: (save_grey(d / "images/a.png"), write_colmap(d / "sparse/0", ["b.png", "c.png"])),
        "other photos: none of its 2 names .*unposed",
    ),
    "truncated model": (
        lambda d: (
            save_grey(d / "images/a.png"),
            write_colmap(d / "sparse/0", ["a.png"]),
            cut(d / "sparse/0/images.bin"),
        ),
        r"images\.bin: expected",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_folders_are_one_clear_line(tmp_path, kind):
    build, message = BAD[kind]
    build(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        open_photos(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_photo_is_named_when_loaded_and_left_out_of_many(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("a", "b", "cut"):
        Image.fromarray(noise).save(tmp_path / f"{name}.{suffix}")
    content = (tmp_path / f"cut.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"cut\.{suffix}"):
        open_photos(tmp_path).frames[2].load()
    with pytest.warns(UserWarning, match=rf"1 of 3 photos cannot be read and are left out: .*cut\.{suffix}"):
        assert [f.name[0] for f in open_photos(tmp_path, whole=True).frames] == ["a", "b"]
    (tmp_path / f"a.{suffix}").unlink()
    with pytest.raises(InputError, match=rf"cut\.{suffix}"):
        open_photos(tmp_path, whole=True)


def test_bad_lists(tmp_path):
    with pytest.raises(InputError, match="got nothing"):
        open_photos([])
    with pytest.raises(InputError, match=r"gone\.png: expected photos, found no such"):
        open_photos(tmp_path / "gone.png")
    with pytest.raises(InputError, match="a folder in a list"):
        open_photos([save_grey(tmp_path / "a.png"), tmp_path])


def test_real_captures(captures_dir):
    with pytest.warns(UserWarning, match="17 of 67"):
        fox = open_photos(captures_dir / "fox_phone/images", check=False)
    assert (len(fox), fox.posed, fox.frames[0].image_size) == (50, True, (960, 540))
    castle = open_photos(captures_dir / "sceaux_castle")
    assert (len(castle), castle.posed, len(castle.points)) == (11, True, 7862)
    wild = open_photos(captures_dir / "sacre_coeur_wild")
    assert (len(wild), wild.posed) == (10, False)
    assert len({f.image_size[0] > f.image_size[1] for f in wild.frames}) == 2  # portrait and landscape


def test_a_transforms_json_as_input(tmp_path):
    save_grey(tmp_path / "a/0.png")
    write_json(tmp_path / "transforms.json", ["a/0.png"])
    assert open_photos(tmp_path / "transforms.json").posed
    assert not open_photos(tmp_path / "transforms.json", unposed=True).posed
