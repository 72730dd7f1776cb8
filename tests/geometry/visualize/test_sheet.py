import numpy as np

from geometry.visualize import contact_sheet

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
    assert 3 <= len(shades) <= 6
    assert np.ptp(np.diff(shades.astype(int))) <= 1


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
