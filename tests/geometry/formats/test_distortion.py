"""Distortion against OpenCV's own functions, and what the undistorted image must keep."""

import cv2
import numpy as np
import pytest

from geometry.errors import InputError
from geometry.formats.colmap import ColmapCamera
from geometry.formats.colmap.records import MODELS
from geometry.formats.distortion import Lens, pinhole_intrinsics, undistort

SIZE = (120, 160)


def lens(family="opencv", coefficients=(), focal=(130.0, 125.0), principal=(83.0, 57.0)):
    return Lens(
        image_size=SIZE, focal=focal, principal=principal, family=family, coefficients=tuple(coefficients)
    )


LENSES = {
    "barrel": lens(coefficients=(-0.2, 0.03, 0.001, -0.002)),
    "pincushion": lens(coefficients=(0.15, 0.01)),
    "rational": lens(coefficients=(0.3, -0.1, 1e-3, 2e-3, 0.02, 0.25, -0.05, 0.01)),
    "fisheye": lens("fisheye", (-0.03, 0.01, -0.002, 0.0005), focal=(95.0, 96.0)),
    "fisheye624": lens(
        "fisheye624", (-0.03, 0.01, 0, 0, 0, 0, 1e-3, 2e-3, 1e-3, 0, 0, 0), focal=(95.0, 96.0)
    ),
    "fov": lens("fov", (0.9,)),
    "division": lens("division", (-0.2,)),
    "eucm": lens("eucm", (0.6, 1.1)),
}


def test_opencv_family_agrees_with_opencv():
    rng = np.random.default_rng(0)
    ideal = rng.uniform(-0.6, 0.6, (50, 2))
    model = LENSES["rational"]
    pixels, _ = cv2.projectPoints(
        np.c_[ideal, np.ones(50)], np.zeros(3), np.zeros(3), model.intrinsics, np.array(model.coefficients)
    )
    np.testing.assert_allclose(model.distort(ideal) * model.focal + model.principal, pixels[:, 0], atol=1e-9)


def test_fisheye_family_agrees_with_opencv():
    ideal = np.random.default_rng(0).uniform(-1.5, 1.5, (50, 2))
    model = LENSES["fisheye"]
    pixels = cv2.fisheye.distortPoints(ideal[:, None], model.intrinsics, np.array(model.coefficients))
    np.testing.assert_allclose(model.distort(ideal) * model.focal + model.principal, pixels[:, 0], atol=1e-9)


def test_fov_by_hand():
    # omega = pi/2: r' = atan(2 r tan(pi/4)) / (pi/2), so r = 1/2 goes to (pi/4) / (pi/2) = 1/2.
    model = lens("fov", (np.pi / 2,))
    np.testing.assert_allclose(
        model.distort(np.array([[0.5, 0.0], [0.0, 0.5]])), [[0.5, 0], [0, 0.5]], atol=1e-12
    )


@pytest.mark.parametrize("k", [-0.3, 0.2])
def test_division_is_the_inverse_of_a_division(k):
    ideal = np.random.default_rng(0).uniform(-0.6, 0.6, (50, 2))
    distorted = lens("division", (k,)).distort(ideal)
    r2 = (distorted**2).sum(-1, keepdims=True)
    np.testing.assert_allclose(distorted / (1 + k * r2), ideal, atol=1e-12)


# Where pycolmap 4.2.1 puts the point (0.3, -0.4, 1).
PYCOLMAP = {
    "SIMPLE_DIVISION": ((100, 50, 40, -0.2), (78.6335345, 1.821954)),
    "DIVISION": ((100, 110, 50, 40, 0.1), (80.79002117, -5.15869772)),
    "SIMPLE_FISHEYE": ((100, 50, 40), (77.81885654, 2.90819128)),
    "FISHEYE": ((100, 110, 50, 40), (77.81885654, -0.80098959)),
    "EUCM": ((100, 110, 50, 40, 0.6, 1.1), (77.84234657, -0.83544163)),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        (100, 110, 50, 40, 0.01, 0.02, -0.03, 0.04, 0.005, -0.006, 0.001, 0.002, 0.003, 0.004, -0.005, 0.006),
        (77.97773646, -0.92024847),
    ),
}


@pytest.mark.parametrize("model", PYCOLMAP)
def test_models_of_colmap_4(model):
    params, pixel = PYCOLMAP[model]
    camera = ColmapCamera(model=model, image_size=(80, 100), params=tuple(map(float, params))).lens()
    point = camera.distort(np.array([0.3, -0.4])) * camera.focal + camera.principal
    np.testing.assert_allclose(point, pixel, atol=1e-7)


@pytest.mark.parametrize("row", [row for row in MODELS if row[3] != "panorama"], ids=lambda row: row[1])
def test_every_model_is_colmaps_own(row):
    """Of random points and coefficients: our pixels are pycolmap's, and its rays of them the points'."""
    pycolmap = pytest.importorskip("pycolmap")
    _, name, focals, _, places = row
    rng = np.random.default_rng(len(name))
    for _ in range(5):
        extra = rng.uniform(0.001, 0.02, len(places)) * (
            1 if name == "EUCM" else rng.choice([-1, 1], len(places))
        )
        if name == "EUCM":
            extra = extra * 10 + (0.5, 0.9)
        elif name == "FOV":
            extra = rng.uniform(0.3, 0.9, 1)
        params = (*(110.0, 120.0)[:focals], 50.0, 40.0, *extra)
        theirs = pycolmap.Camera(model=name, width=100, height=80, params=params)
        lens = ColmapCamera(model=name, image_size=(80, 100), params=tuple(map(float, params))).lens()
        points = rng.uniform(-0.4, 0.4, (20, 2))
        ours = lens.distort(points) * lens.focal + lens.principal
        for point, pixel in zip(points, ours):
            np.testing.assert_allclose(pixel, theirs.img_from_cam(np.array([*point, 1.0])), atol=1e-8)
            np.testing.assert_allclose(theirs.cam_from_img(pixel), point, atol=1e-6)


def test_thin_prism_by_hand():
    # r = tan(0.5): the point moves to theta = 0.5 on the x axis; du = sx r^2, dv = sy r^2 with r = 0.5.
    model = lens("fisheye", (0.0,) * 6 + (0.1, 0.2))
    np.testing.assert_allclose(model.distort(np.array([np.tan(0.5), 0.0])), [0.525, 0.05], atol=1e-12)


@pytest.mark.extended
@pytest.mark.parametrize("name", LENSES)
def test_undistorted_straight_lines_are_straight(name):
    """Render a smooth pattern through the lens, undo it, compare with the pattern through the pinhole."""
    model = LENSES[name]

    def pattern(ideal):
        return np.sin(9 * ideal[..., 0]) + np.cos(7 * ideal[..., 1])

    pinhole = pinhole_intrinsics(model)
    H, W = SIZE
    y, x = np.mgrid[:H, :W] + 0.5
    # Invert the lens by fixed-point steps.
    target = (np.stack((x, y), -1) - model.principal) / model.focal
    ideal = target.copy()
    for _ in range(400):
        ideal = ideal + 0.5 * (target - model.distort(ideal))
    assert np.abs(model.distort(ideal) - target).max() < 1e-6
    image = undistort(pattern(ideal).astype(np.float32), model)
    expected = pattern((np.stack((x, y), -1) - pinhole[:2, 2]) / (pinhole[0, 0], pinhole[1, 1]))
    assert np.abs(image - expected)[2:-2, 2:-2].max() < 0.02


@pytest.mark.parametrize("name", LENSES)
def test_no_blank_pixels_and_the_principal_point_stays(name):
    model = LENSES[name]
    pinhole = pinhole_intrinsics(model)
    np.testing.assert_allclose(pinhole[:2, 2], model.principal)
    assert pinhole[0, 0] / pinhole[1, 1] == pytest.approx(model.focal[0] / model.focal[1])
    source = model._distorted_pixels(np.mgrid[:161, :121].T.reshape(-1, 2).clip(0.5, (159.5, 119.5)), pinhole)
    assert source.min() >= -0.05
    assert (source <= (160.05, 120.05)).all()
    # As much as possible: the border is reached somewhere, unless the angle limit came first.
    assert min(source.min(), (np.array([160, 120]) - source).min()) < 0.05


def test_no_distortion_is_left_alone():
    image = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    assert undistort(image, lens()) is image
    np.testing.assert_array_equal(pinhole_intrinsics(lens()), lens().intrinsics)


def test_nearest_keeps_labels():
    labels = np.random.default_rng(0).choice([0, 7, 200], SIZE).astype(np.uint8)
    assert set(np.unique(undistort(labels, LENSES["barrel"], nearest=True))) == {0, 7, 200}


def test_resized_lens_is_the_same_lens():
    small = LENSES["barrel"].resized((60, 80))
    np.testing.assert_allclose(
        pinhole_intrinsics(small)[:2], pinhole_intrinsics(LENSES["barrel"])[:2] / 2, rtol=0.02
    )


def test_impossible_lenses_are_refused():
    with pytest.raises(InputError, match="can be undone"):
        pinhole_intrinsics(lens(coefficients=(-400.0,)))
    with pytest.raises(InputError, match="finite"):
        lens(coefficients=(float("nan"),))
    with pytest.raises(InputError, match="positive focal"):
        lens(focal=(0.0, 1.0))
