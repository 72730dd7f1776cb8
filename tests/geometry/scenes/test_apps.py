"""Exports of other apps, written in each one's layout and conventions, give the room's cameras back."""

import json
import zipfile

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from scenes import assert_cameras, assert_images, make_arc, names_of, save, write_colmap, write_room

from geometry.errors import InputError
from geometry.scenes.photos import open_photos

COUNT = 4
SIZE = (36, 64)


def numbers(values):
    return " ".join(f"{value:.15g}" for value in np.ravel(values))


def quat_xyzw(rotation):
    """By hand, for rotations by less than half a turn."""
    w = 0.5 * np.sqrt(1 + np.trace(rotation))
    return [*((rotation - rotation.T)[(2, 0, 1), (1, 2, 0)] / (4 * w)), w]


def polycam(folder, arc, corrected=False):
    prefix = "corrected_" if corrected else ""
    write_room(folder / f"keyframes/{prefix}images", arc)
    if corrected:
        polycam(folder, [type(v)(v.image, v.depth, np.eye(4), v.intrinsics) for v in arc])
    (folder / f"keyframes/{prefix}cameras").mkdir()
    for name, view in zip(names_of(COUNT), arc):
        K, (H, W) = view.intrinsics, view.image.shape[:2]
        camera = {f"t_{i}{j}": view.opengl[i, j] for i in range(3) for j in range(4)}
        camera |= {"fx": K[0, 0], "fy": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "width": W, "height": H}
        (folder / f"keyframes/{prefix}cameras/{name[:-4]}.json").write_text(json.dumps(camera))


def scanner_3d(folder, arc):
    for i, view in enumerate(arc):
        save(folder / f"frame_{i:05d}.jpg", view.image, quality=100, subsampling=0)
        camera = {
            "cameraPoseARFrame": view.opengl.ravel().tolist(),
            "intrinsics": view.intrinsics.ravel().tolist(),
        }
        (folder / f"frame_{i:05d}.json").write_text(json.dumps(camera | {"frame_index": i, "time": 0.1 * i}))
    (folder / "frame_00009.json").write_text(json.dumps(camera))  # cameras are more than photos
    (folder / "info.json").write_text('{"device": "a phone"}')


def record3d_metadata(arc, per_frame):
    poses = [[*quat_xyzw(view.opengl[:3, :3]), *view.opengl[:3, 3]] for view in arc]
    K, (H, W) = arc[0].intrinsics, arc[0].image.shape[:2]
    content = {"h": H, "w": W, "dh": 192, "dw": 256, "fps": 60, "K": K.T.ravel().tolist(), "poses": poses}
    if per_frame:
        content["K"] = np.eye(3).ravel().tolist()
        content["perFrameIntrinsicCoeffs"] = [[K[0, 0], K[1, 1], K[0, 2], K[1, 2]]] * len(arc)
    return json.dumps(content)


def record3d(folder, arc, name="metadata.json", photos="rgb", per_frame=False):
    for i, view in enumerate(arc):
        save(folder / f"{photos}/{i}.png", view.image)
    (folder / name).write_text(record3d_metadata(arc, per_frame))


def r3d(folder, arc):
    with zipfile.ZipFile(folder / "a scan.r3d", "w") as archive:
        archive.writestr("metadata", record3d_metadata(arc, True))
        archive.writestr("icon", b"x")
        for i, view in enumerate(arc):
            path = save(folder / "photo.jpg", view.image, quality=100, subsampling=0)
            archive.write(path, f"rgbd/{i}.jpg")
            archive.writestr(f"rgbd/{i}.depth", b"x")
            path.unlink()


def stray(folder, arc, per_frame=True):
    write = imageio_ffmpeg.write_frames(
        str(folder / "rgb.mp4"),
        SIZE[::-1],
        fps=30,
        macro_block_size=2,
        codec="libx264rgb",
        pix_fmt_out="bgr24",
        quality=None,
        output_params=["-crf", "0"],
    )
    write.send(None)
    lines = ["timestamp, frame, x, y, z, qx, qy, qz, qw" + ", fx, fy, cx, cy" * per_frame]
    K = arc[0].intrinsics
    for i, view in enumerate([*arc, arc[-1]]):
        pose = [*view.cam_to_world[:3, 3], *quat_xyzw(view.cam_to_world[:3, :3])]
        pose += [K[0, 0], K[1, 1], K[0, 2], K[1, 2]] * per_frame
        lines.append(", ".join([f"{i / 30}", f"{i:06d}", *(f"{x:.12g}" for x in pose)]))
        if i < len(arc):  # the log goes on for longer than the video
            write.send(np.ascontiguousarray(view.image))
    write.close()
    (folder / "odometry.csv").write_text("\n".join(lines))
    np.savetxt(folder / "camera_matrix.csv", K, delimiter=",")


def metashape(folder, arc, label="frame_{}"):
    """A component turned, shifted and scaled, K with B1, labels without suffix, a camera that failed."""
    write_room(folder / "images", arc)
    turn = arc[0].cam_to_world[:3, :3] @ arc[1].cam_to_world[:3, :3]
    shift, scale = np.array([5.0, -7.0, 2.0]), 2.5
    (H, W), K = SIZE, arc[0].intrinsics
    cameras = ""
    for i, view in enumerate(arc):
        pose = view.cam_to_world.copy()
        pose[:3, :3] = turn.T @ pose[:3, :3]
        pose[:3, 3] = turn.T @ (pose[:3, 3] - shift) / scale
        name = label.format(i + 1)
        cameras += f'<camera id="{i}" sensor_id="0" component_id="0" label="{name}">'
        cameras += f"<transform>{numbers(pose)}</transform></camera>"
    (folder / "cameras.xml").write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<document version="1.5.0"><chunk label="Chunk 1" enabled="true">
<sensors next_id="1"><sensor id="0" label="a phone" type="frame"><resolution width="{W}" height="{H}"/>
<calibration type="frame" class="initial"><resolution width="{W}" height="{H}"/><f>1</f></calibration>
<calibration type="frame" class="adjusted"><resolution width="{W}" height="{H}"/><f>{K[1, 1]}</f>
<cx>{K[0, 2] - W / 2}</cx><cy>{K[1, 2] - H / 2}</cy><b1>{K[0, 0] - K[1, 1]}</b1></calibration></sensor>
</sensors>
<components><component id="0" label="Component 1"><transform>
<rotation locked="false">{numbers(turn)}</rotation>
<translation>{numbers(shift)}</translation><scale>{scale}</scale></transform></component></components>
<cameras><group id="0" label="Group 1">{cameras}</group>
<camera id="9" sensor_id="0" label="not_aligned"/></cameras></chunk></document>""")


def film(arc):
    """Focal length on film, and the principal point, as RealityCapture states them."""
    (H, W), K = SIZE, arc[0].intrinsics
    return K[0, 0] * 36 / W, (K[0, 2] - W / 2) / W, (K[1, 2] - H / 2) / W


def realitycapture_csv(folder, arc):
    write_room(folder / "images", arc)
    lines = ["#cameras 4", "#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for name, view in zip(names_of(COUNT), arc):
        R = view.opengl[:3, :3]  # Rz(-h) Rx(p) Ry(r), row 3: (-cos p sin r, sin p, cos p cos r)
        pitch = np.arcsin(R[2, 1])
        angles = np.rad2deg([np.arctan2(R[0, 1], R[1, 1]), pitch, np.arctan2(-R[2, 0], R[2, 2])])
        lines.append(
            ",".join([name, *(f"{x:.12g}" for x in [*view.opengl[:3, 3], *angles, *film(arc)]), *"000000"])
        )
    (folder / "registration.csv").write_text("\r\n".join(lines))


def realitycapture_xmp(folder, arc, attributes=False):
    write_room(folder / "images", arc)
    f, u, v = film(arc)
    for name, view in zip(names_of(COUNT), arc):
        R, centre = numbers(view.extrinsics[:3, :3]), numbers(view.cam_to_world[:3, 3])
        inner = f"<xcr:Rotation>{R}</xcr:Rotation><xcr:Position>{centre}</xcr:Position>"
        outer = ""
        if attributes:
            inner, outer = inner.split("</xcr:Rotation>")[1], f'xcr:Rotation="{R}"'
        (folder / f"images/{name[:-4]}.xmp").write_text(f"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description {outer}
xcr:Version="3" xcr:PosePrior="initial" xcr:Coordinates="absolute" xcr:DistortionModel="division"
xcr:FocalLength35mm="{f}" xcr:Skew="0" xcr:AspectRatio="1" xcr:PrincipalPointU="{u}" xcr:PrincipalPointV="{v}"
xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#">{inner}
<xcr:DistortionCoeficients>0 0 0 0 0 0</xcr:DistortionCoeficients></rdf:Description></rdf:RDF></x:xmpmeta>""")
    (folder / "images/failed.xmp").write_text('<a xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#"/>')


EXPORTS = {
    "Polycam": (polycam, ""),
    "Polycam corrected": (lambda d, a: polycam(d, a, corrected=True), ""),
    "3D Scanner App": (scanner_3d, ""),
    "Record3D": (record3d, ""),
    "Record3D per frame": (lambda d, a: record3d(d, a, "metadata", "rgbd", per_frame=True), ""),
    "Record3D EXR": (lambda d, a: record3d(d / "EXR_RGBD", a), ""),
    "Record3D r3d": (r3d, ""),
    "Record3D r3d named": (r3d, "a scan.r3d"),
    "Stray Scanner": (stray, ""),
    "Stray Scanner older": (lambda d, a: stray(d, a, per_frame=False), ""),
    "Metashape": (metashape, ""),
    "Metashape named": (lambda d, a: metashape(d, a, "frame_{}.JPG"), "cameras.xml"),
    "RealityCapture CSV": (realitycapture_csv, ""),
    "RealityCapture CSV named": (realitycapture_csv, "registration.csv"),
    "RealityCapture XMP": (realitycapture_xmp, ""),
    "RealityCapture XMP attributes": (lambda d, a: realitycapture_xmp(d, a, True), "images"),
}


@pytest.mark.parametrize("export", EXPORTS)
@pytest.mark.filterwarnings("ignore:.*listed photos are missing")
def test_cameras_and_photos_of_an_export(tmp_path, export):
    arc = make_arc(COUNT)
    write, start = EXPORTS[export]
    write(tmp_path, arc)
    (tmp_path / "._cameras.xml").write_text("<document><chunk>")
    scene = open_photos(tmp_path / start)
    assert scene.source.startswith(export.split(" ")[0])
    assert_cameras(scene, arc)
    assert_images(scene, arc, atol=3)
    assert not open_photos(tmp_path / start, unposed=True).posed


@pytest.mark.parametrize("program", ["metashape", "csv", "xmp"])
def test_distortion_of_photogrammetry_follows_its_formula(tmp_path, program):
    """x (1 + k1 r2 + k2 r4 + k3 r6 + k4 r8) + P1 (r2 + 2 x2) + 2 P2 x y, and y with P2 and P1."""
    arc, k = make_arc(COUNT), [-0.03, 0.02, -0.01, 0.005, 0.002, -0.003]
    if program == "metashape":
        metashape(tmp_path, arc)
        path = tmp_path / "cameras.xml"
        terms = "".join(f"<{n}>{v}</{n}>" for n, v in zip(("k1", "k2", "k3", "k4", "p1", "p2"), k))
        path.write_text(path.read_text().replace("<b1>", terms + "<b1>"))
    elif program == "csv":
        realitycapture_csv(tmp_path, arc)
        path = tmp_path / "registration.csv"
        path.write_text(path.read_text().replace("0,0,0,0,0,0", ",".join(map(str, k))))
    else:
        realitycapture_xmp(tmp_path, arc)
        for path in (tmp_path / "images").glob("frame*.xmp"):
            text = path.read_text().replace("0 0 0 0 0 0", numbers(k))
            path.write_text(text.replace("division", "brown4t2"))
    lens = open_photos(tmp_path, check=False).frames[1].lens
    ideal = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 2))
    x, y = ideal.T
    r2 = x * x + y * y
    radial = 1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3 + k[3] * r2**4
    expected = np.stack(
        (
            x * radial + k[4] * (r2 + 2 * x * x) + 2 * k[5] * x * y,
            y * radial + k[5] * (r2 + 2 * y * y) + 2 * k[4] * x * y,
        ),
        axis=-1,
    )
    np.testing.assert_allclose(lens.distort(ideal), expected, atol=1e-12)


def test_fisheye_of_metashape_is_equidistant(tmp_path):
    metashape(tmp_path, make_arc(COUNT))
    path = tmp_path / "cameras.xml"
    path.write_text(path.read_text().replace('type="frame"><res', 'type="fisheye"><res'))
    lens = open_photos(tmp_path, check=False).frames[0].lens
    np.testing.assert_allclose(lens.distort(np.array([np.tan(0.4), 0.0])), [0.4, 0.0], atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*have no camera")
def test_a_label_of_two_photos_is_nobodys(tmp_path):
    arc = make_arc(COUNT)
    metashape(tmp_path, arc)
    path = tmp_path / "cameras.xml"
    path.write_text(path.read_text().replace('label="frame_2"', 'label="frame_1"'))
    with pytest.warns(UserWarning, match=r"1 names are those of several photos \(frame_1\)"):
        scene = open_photos(tmp_path)
    assert_cameras(scene, arc[2:])


def test_a_model_beside_sidecars_comes_first(tmp_path):
    """RealityCapture writes COLMAP's files and, if asked to, XMP into one folder."""
    arc = make_arc(COUNT)
    realitycapture_xmp(tmp_path, arc)
    write_colmap(tmp_path, arc, model="images")
    scene = open_photos(tmp_path / "images")
    assert scene.source == str(tmp_path / "images")
    assert_cameras(scene, arc)


BAD = {
    "division": ("xmp", lambda text: text.replace("0 0 0 0 0 0", "0.1 0 0 0 0 0"), "expected a Brown model"),
    "doctype": ("xmp", lambda text: '<!DOCTYPE a [<!ENTITY b "c">]>' + text, "DOCTYPE"),
    "no xml": ("xml", lambda text: text[:-20], "could not read it"),
    "no sensor": ("xml", lambda text: text.replace('sensor_id="0"', 'sensor_id="7"'), "could not read it"),
    "no size": (
        "xml",
        lambda text: text.replace("<resolution", "<dissolution"),
        "cameras.xml, camera frame_1:",
    ),
    "no focal": ("xml", lambda text: text.replace("f>", "g>"), "cameras.xml, camera frame_1: .*f"),
    "flat": (
        "csv",
        lambda text: text.replace(",0,0,0,0,0,0", ",1e999,0,0,0,0,0"),
        r"csv, frame_1\.png: .*finite",
    ),
    "skew": ("xml", lambda text: text.replace("<b1>", "<b2>9</b2><b1>"), "B2"),
    "cylinder": (
        "xml",
        lambda t: t.replace('type="frame"><res', 'type="cylindrical"><res'),
        "got cylindrical",
    ),
    "mirrored": ("xml", lambda text: text.replace("<transform>0.", "<transform>-0."), "cameras.xml, camera"),
    "words": ("csv", lambda text: text.replace(",0,0,0,0,0,0", ",a,b,c,d,e,f"), "could not read it"),
    "no rows": ("csv", lambda text: "\n".join(text.splitlines()[:2]), "found none that is placed"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_exports_are_one_line(tmp_path, kind):
    suffix, change, message = BAD[kind]
    {"xml": metashape, "csv": realitycapture_csv, "xmp": realitycapture_xmp}[suffix](
        tmp_path, make_arc(COUNT)
    )
    for path in tmp_path.rglob(f"*.{suffix}"):
        path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=message) as error:
        open_photos(tmp_path)
    assert "\n" not in str(error.value)


def test_an_archive_is_read_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr("geometry.scenes.apps.phones._LARGEST_MEMBER", 1 << 20)
    with zipfile.ZipFile(tmp_path / "a.r3d", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata", b" " * (2 << 20))
    assert (tmp_path / "a.r3d").stat().st_size < 1 << 14
    with pytest.raises(InputError, match="expected at most"):
        open_photos(tmp_path)


def keys_of(view):
    K, (H, W) = view.intrinsics, view.image.shape[:2]
    return {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2], "w": W, "h": H}


# What apps that write a transforms.json put beside nerfstudio's keys: of the file, of names, of a frame.
VARIANTS = {
    "instant-ngp": ({"camera_angle_x": 1.0, "aabb_scale": 16, "offset": [1, 2, 3]}, "./images/{}", {}),
    "Luma": ({"camera_model": "PERSPECTIVE", "ply_file_path": "s.ply"}, "images/{}", {"colmap_im_id": 3}),
    "KIRI": ({"is_fisheye": False, "k1": 0, "p1": 0.0}, "images\\{}", {"sharpness": 30.5}),
    "NeRFCapture": ({"integer_depth_scale": 1e-5}, "images/{}", {"timestamp": 1.5, "depth_path": "x.png"}),
    "Windows": ({}, "C:\\Users\\a b\\images\\{}", {}),
}


@pytest.mark.parametrize("per_frame", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_transforms_json(tmp_path, variant, per_frame):
    arc = make_arc(COUNT)
    write_room(tmp_path / "images", arc)
    top, name, more = VARIANTS[variant]
    frames = [
        {"file_path": name.format(n), "transform_matrix": v.opengl.tolist()}
        | more
        | (keys_of(v) if per_frame else {})
        for n, v in zip(names_of(COUNT), arc)
    ]
    content = top | ({} if per_frame else keys_of(arc[0])) | {"frames": frames}
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    scene = open_photos(tmp_path)
    assert_cameras(scene, arc)
    assert_images(scene, arc)


def test_depth_of_nothing_is_no_trouble(tmp_path):
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "a.png")
    (tmp_path / "metadata.json").write_text('{"poses": "none"}')
    with pytest.raises(InputError, match="Record3D"):
        open_photos(tmp_path)
