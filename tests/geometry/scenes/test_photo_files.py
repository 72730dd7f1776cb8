"""Names in a list of cameras and the files that they mean: written alike or not, never a guess."""

import unicodedata

import pytest
from scenes import save_grey

from geometry.scenes.photo_files import find_named, match_names

NAMES = ["Café 1/IMG_1.JPG", "Café 1/IMG_2.JPG"]

ALIKE = {
    "as they are": str,
    "backslashes": lambda n: n.replace("/", "\\"),
    "Windows path": lambda n: "C:\\Users\\anna\\" + n.replace("/", "\\"),
    "absolute path of another machine": lambda n: f"/home/anna/capture/{n}",
    "two blanks": lambda n: n.replace(" ", "  "),
    "percent signs": lambda n: n.replace(" ", "%20"),
    "decomposed Unicode": lambda n: unicodedata.normalize("NFD", n),
    "case": str.lower,
    "no suffix": lambda n: n.removesuffix(".JPG"),
    "another suffix": lambda n: n.replace(".JPG", ".png"),
    "without the folder": lambda n: n.partition("/")[2],
    "dot": lambda n: f"./{n}",
    "all of it": lambda n: "D:\\" + unicodedata.normalize("NFD", n).upper().replace("/", "\\")[:-4],
}


@pytest.mark.parametrize("kind", ALIKE)
def test_a_name_may_be_written_otherwise(kind):
    written = {ALIKE[kind](name): name for name in NAMES}
    assert match_names(list(written), NAMES) == written
    assert match_names(NAMES, list(written)) == {name: other for other, name in written.items()}


def test_what_is_not_certain_stays_open():
    two = ["cam1/1.jpg", "cam2/1.jpg"]
    assert set(match_names(two, ["1.jpg"]).values()) == {None}
    assert match_names(["1.jpg"], two) == {"1.jpg": None}
    assert match_names(two, ["cam1/1.jpg"]) == {"cam1/1.jpg": "cam1/1.jpg", "cam2/1.jpg": None}
    assert match_names(["cam1/1.jpg"], ["cam2/1.jpg"]) == {"cam1/1.jpg": None}
    assert match_names(["a"], ["a.jpg", "a.png"]) == {"a": None}
    assert match_names(["2.jpg"], ["12.jpg"]) == {"2.jpg": None}


def test_the_exact_name_comes_first():
    names = ["a.jpg", "A.JPG", "a.png", "x/a.jpg"]
    assert match_names(names, [*names, "a.JPG"]) == {name: name for name in names}


def test_a_mask_beside_a_deleted_photo_is_not_the_photo(tmp_path):
    """Where names are written as the files are, a missing photo is missing."""
    for name in ("1.jpg", "masks/2.jpg", "2.png"):
        save_grey(tmp_path / name)
    found = find_named(["1.jpg", "2.jpg"], tmp_path, photos_from=tmp_path)
    assert found == {"1.jpg": tmp_path / "1.jpg", "2.jpg": None}


def test_names_that_no_file_system_takes(tmp_path):
    names = ["a" * 5000, "nul\0.jpg", "", "/", "..", "a//b/../c.jpg"]
    assert set(find_named(names, tmp_path).values()) == {None}
    assert set(find_named(names, tmp_path, photos_from=tmp_path).values()) == {None}
