import numpy as np
import pytest

from geometry.visualize import contact_sheet, images_per_line

RED, GREEN = np.array([255, 0, 0], np.uint8), np.array([0, 255, 0], np.uint8)


def plain(h: int, w: int, colour: np.ndarray) -> np.ndarray:
    return np.broadcast_to(colour, (h, w, 3)).copy()


def extent(sheet: np.ndarray, colour: np.ndarray) -> tuple[int, int]:
    """Height and width of the box that holds a colour."""
    rows, columns = np.nonzero((sheet == colour).all(-1))
    return np.ptp(rows) + 1, np.ptp(columns) + 1


def test_aspects_are_kept_also_when_mixed():
    sheet = contact_sheet({"mixed": [plain(60, 30, RED), plain(50, 200, GREEN)]}, width=600)
    assert sheet.shape[1] == 600
    for colour, aspect in ((RED, 0.5), (GREEN, 4.0)):
        h, w = extent(sheet, colour)
        assert abs(w / h - aspect) < 0.02 * aspect
    assert extent(sheet, RED)[0] == extent(sheet, GREEN)[0]


def test_rows_come_in_order_under_their_labels():
    sheet = contact_sheet({"a": [plain(10, 10, RED)], "b": [plain(10, 10, GREEN)]}, width=400)
    red, green = (np.nonzero((sheet == c).all(-1))[0] for c in (RED, GREEN))
    assert red.max() < green.min()
    between = sheet[red.max() + 1 : green.min()]
    assert (between < 100).any()  # the label's ink


def test_too_many_images_are_thinned_evenly_with_both_ends():
    images = (plain(10, 10, np.array([v, 0, 0], np.uint8)) for v in range(101))
    sheet = contact_sheet({"many": images}, width=500)
    shades = np.unique(sheet[(sheet[..., 1] == 0) & (sheet[..., 2] == 0)][:, 0])
    assert shades[0] == 0
    assert shades[-1] == 100
    assert len(shades) == 24
    assert np.ptp(np.diff(shades.astype(int))) <= 1


@pytest.mark.parametrize("size", [(480, 270), (270, 480), (300, 300)])
@pytest.mark.parametrize("count", [1, 2, 5, 6, 10, 17, 24])
def test_upright_and_wide_images_alike_fill_the_page(size, count):
    sheet = contact_sheet({"inputs": [plain(*size, RED)] * count})
    filled = extent(sheet, RED)[1] / sheet.shape[1]
    assert filled > (0.9 if count > 4 else 0.25)
    assert (sheet == RED).all(-1).sum() > count * 130**2  # large enough to see something


def test_images_per_line_fill_a_line():
    for h, w in ((480, 270), (270, 480)):
        sheet = contact_sheet({"views": [plain(h, w, RED)] * images_per_line(w / h)})
        assert extent(sheet, RED)[1] > 1500
        assert extent(sheet, RED)[0] < h


def test_odd_things_do_not_break_it():
    sheet = contact_sheet(
        {
            "empty": [],
            "one pixel": [plain(1, 1, RED)],
            "wide": [plain(2, 900, GREEN)],
            "tall": [plain(900, 2, RED)],
        },
        width=300,
        title="a title longer than the page is wide, which goes on to a second line and says a thing twice",
    )
    assert sheet.shape[1] == 300
    assert sheet.dtype == np.uint8
    assert contact_sheet({}).shape[1] == 1600
