"""Which of several reconstructions is taken; mapping itself is stood in for."""

from types import SimpleNamespace

import pytest

from geometry.scenes import mapping


class Model:
    """A reconstruction of photos that see as many points each."""

    def __init__(self, *seen, error=1.0):
        self.images = {
            i: SimpleNamespace(frame_id=i, has_pose=True, num_points3D=n) for i, n in enumerate(seen)
        }
        self.error = error

    def num_reg_frames(self):
        return len(self.images)

    def num_points3D(self):
        return sum(image.num_points3D for image in self.images.values())

    def compute_mean_reprojection_error(self):
        return self.error

    def deregister_frame(self, number):
        del self.images[number]


@pytest.fixture
def tries(monkeypatch):
    """Lets a test say what comes of each beginning; returns those that were made."""
    made = []

    def stand_in(models):
        def largest(database, photos, angle, *, count, exact, seed):
            made.append((seed, angle))
            return models[seed, angle]

        monkeypatch.setattr(mapping, "_largest", largest)
        return made

    return stand_in


def best(tmp_path):
    return mapping.best_model(tmp_path / "database.db", tmp_path, count=5, exact=set(), seed=3)


def test_two_beginnings_that_agree_are_enough(tmp_path, tries):
    first, other = Model(99, 99, error=0.50), Model(99, 99, error=0.49)
    made = tries({(3, 16.0): first, (3, 8.0): other})
    assert best(tmp_path) is other
    assert sorted(made) == [(3, 8.0), (3, 16.0)]


def test_most_photos_win_and_then_the_smallest_errors(tmp_path, tries):
    few, wrong, right, worse = Model(99, error=0.1), Model(99, 99, error=0.6), Model(99, 99, error=0.3), None
    made = tries({(3, 16.0): few, (3, 8.0): wrong, (4, 16.0): right, (4, 8.0): worse})
    assert best(tmp_path) is right
    assert len(made) == 4


def test_no_beginning_that_leads_anywhere(tmp_path, tries):
    made = tries({(3, 16.0): None, (3, 8.0): None})
    assert best(tmp_path) is None
    assert len(made) == 2


def test_photos_that_see_next_to_nothing_are_dropped_before_models_are_compared(tmp_path, monkeypatch):
    pycolmap = pytest.importorskip("pycolmap")
    sparse, whole = Model(40, 9, 12, 200), Model(31, 30, 90)
    monkeypatch.setattr(pycolmap, "incremental_mapping", lambda *_: {0: sparse, 1: whole})

    def run(count):
        database = tmp_path / f"{count}" / "database.db"
        database.parent.mkdir()
        database.touch()
        return mapping._largest(database, tmp_path, 8.0, count=count, exact=set(), seed=0)

    assert run(2) is sparse  # two are all there is
    assert run(5) is whole
    assert len(sparse.images) == 2
    sparse.images.popitem()
    whole.images.clear()
    assert run(3) is None  # one photo is no model, nor is none


def test_each_beginning_opens_a_database_of_its_own(tmp_path, monkeypatch):
    pycolmap = pytest.importorskip("pycolmap")
    opened = []

    def incremental_mapping(database, *_):
        opened.append(database)
        assert database.read_bytes() == b"matches"
        return {0: Model(99, 99)}

    monkeypatch.setattr(pycolmap, "incremental_mapping", incremental_mapping)
    (tmp_path / "database.db").write_bytes(b"matches")
    best(tmp_path)
    assert [path.name for path in tmp_path.glob("*.db")] == ["database.db"]  # the copies are gone
    # Two that open one file at the same moment fail: "No registered database factory succeeded".
    assert len({*opened, tmp_path / "database.db"}) == 3
