"""Cameras of Metashape and RealityCapture; see the package."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from geometry.errors import InputError
from geometry.formats.distortion import Lens, sphere
from geometry.formats.images import natural_key
from geometry.formats.text import read_text
from geometry.scenes.apps.shots import OPENGL, Shot, matrix

_FILM_MM = 36.0
_CALIBRATION = ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4")  # Metashape's
_XCR = "{http://www.capturingreality.com/ns/xcr/1.1#}"


def metashape(path: Path) -> Iterator[Shot]:
    """Only cameras that are aligned have a transform; a label may lack the photo's suffix."""
    chunk = _xml(path).find("chunk")
    sensors = {sensor.get("id"): sensor for sensor in chunk.iter("sensor")}
    worlds = {part.get("id"): _similarity(part.find("transform")) for part in chunk.iter("component")}
    whole = _similarity(chunk.find("transform"))
    for camera in chunk.find("cameras").iter("camera"):
        if (stated := camera.find("transform")) is None:
            continue
        scale, world = worlds.get(camera.get("component_id"), whole)
        pose, where = matrix(stated.text.split(), 4), f"{path}, camera {camera.get('label')}"
        pose[:3, 3] *= scale
        lens = partial(_metashape_lens, sensors[camera.get("sensor_id")], where)
        yield Shot(name=camera.get("label"), cam_to_world=world @ pose, lens=lens, where=where)


def _metashape_lens(sensor: ElementTree.Element, where: str, _: tuple[int, int]) -> Lens:
    resolution = sensor.find("resolution")
    W, H = (int(resolution.get(side)) for side in ("width", "height"))
    kind, given = sensor.get("type", "frame"), sensor.findall("calibration")
    adjusted = [c for c in given if c.get("class") == "adjusted"] or given
    if kind == "spherical":
        return sphere((H, W))
    if kind not in ("frame", "fisheye") or not adjusted:
        raise InputError(f"{where}: expected a calibrated frame, fisheye or spherical sensor, got {kind}")
    c = {part.tag: float(part.text) for part in adjusted[0] if part.tag in _CALIBRATION}
    if abs(c.get("b2", 0)) > 1 or c.get("p3") or c.get("p4"):
        raise InputError(
            f"{where}: expected no skew and no P3 and P4, got B2, P3 and P4; export undistorted photos"
        )
    f = c["f"]
    return Lens(
        image_size=(H, W),
        focal=(f + c.get("b1", 0.0), f),
        principal=(W / 2 + c.get("cx", 0.0), H / 2 + c.get("cy", 0.0)),
        family="fisheye" if kind == "fisheye" else "brown",
        coefficients=tuple(c.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "p2", "p1")),
    )


def _similarity(transform: ElementTree.Element | None) -> tuple[float, np.ndarray]:
    """Scale, and rotation and translation [4, 4], of a component's frame in the world."""
    parts = (
        {} if transform is None else {part.tag: [float(x) for x in part.text.split()] for part in transform}
    )
    world = np.eye(4)
    world[:3, :3] = np.reshape(parts.get("rotation", np.eye(3)), (3, 3))
    world[:3, 3] = parts.get("translation", 0.0)
    return parts.get("scale", [1.0])[0], world


def realitycapture_csv(path: Path) -> Iterator[Shot]:
    """Heading clockwise from north, pitch from straight down, roll, in degrees: R = Rz(-h) Rx(p) Ry(r)."""
    lines = read_text(path).splitlines()
    first = [i for i, line in enumerate(lines) if line.startswith("#name")][:1]
    for row in csv.DictReader(lines[first[0] :] if first else []):
        n = {key: float(value) for key, value in row.items() if key != "#name"}
        pose = np.eye(4)
        pose[:3, :3] = _turn(2, -n["heading"]) @ _turn(0, n["pitch"]) @ _turn(1, n["roll"])
        pose[:3, 3] = n["x"], n["y"], n["alt"]
        coefficients = [n.get(key, 0.0) for key in ("k1", "k2", "k3", "k4", "t1", "t2")]
        lens = partial(_film_lens, n["f"], (n.get("px", 0.0), n.get("py", 0.0)), coefficients)
        yield Shot(name=row["#name"], cam_to_world=pose @ OPENGL, lens=lens, where=f"{path}, {row['#name']}")


def realitycapture_xmp(folder: Path) -> Iterator[Shot]:
    for path in sidecars(folder):
        parts = {}
        for part in _xml(path).iter():
            for name, text in [*part.items(), (part.tag, part.text)]:
                if name.startswith(_XCR) and text:
                    parts[name.removeprefix(_XCR)] = text
        if "Rotation" not in parts or "Position" not in parts:
            continue  # a photo that was not aligned has a file too
        rotation = matrix(parts["Rotation"].split(), 3)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = rotation.T, [float(x) for x in parts["Position"].split()]
        model = parts.get("DistortionModel", "perspective")
        coefficients = [float(x) for x in parts.get("DistortionCoeficients", "").split()]
        if any(coefficients) and not model.startswith("brown"):
            raise InputError(f"{path}: expected a Brown model of distortion, got {model}; export with Brown3")
        point = float(parts.get("PrincipalPointU", 0)), float(parts.get("PrincipalPointV", 0))
        lens = partial(_film_lens, float(parts["FocalLength35mm"]), point, coefficients)
        yield Shot(name=path.stem, cam_to_world=pose, lens=lens, where=str(path))


def sidecars(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.xmp"), key=natural_key) if folder.is_dir() else []


def _film_lens(focal_mm: float, point: tuple[float, float], k: list[float], size: tuple[int, int]) -> Lens:
    """RealityCapture's: focal length on film, principal point from the middle; k1 k2 k3 k4 t1 t2."""
    (H, W), side = size, max(size)
    k1, k2, k3, k4, t1, t2 = [*k, *[0.0] * (6 - len(k))]
    focal = focal_mm / _FILM_MM * side
    return Lens(
        image_size=size,
        focal=(focal, focal),
        principal=(W / 2 + point[0] * side, H / 2 + point[1] * side),
        family="brown",
        coefficients=(k1, k2, k3, k4, t2, t1),
    )


def _turn(axis: int, degrees: float) -> Float[np.ndarray, "3 3"]:
    """A rotation about an axis, counter-clockwise seen from its end."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    out, (i, j) = np.eye(3), ((axis + 1) % 3, (axis + 2) % 3)
    out[i, i], out[i, j], out[j, i], out[j, j] = c, -s, s, c
    return out


def _xml(path: Path) -> ElementTree.Element:
    text = read_text(path)
    if (
        "<!DOCTYPE" in text or "<!ENTITY" in text
    ):  # the way to make a small file large; no such app writes them
        raise InputError(f"{path}: expected plain XML, got one with a DOCTYPE")
    return ElementTree.fromstring(text)
