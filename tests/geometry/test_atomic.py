"""Outputs are whole or absent, and nobody's files are deleted."""

import errno
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from geometry.atomic import atomic_file, atomic_folder
from geometry.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def fail_midway(manager, target, error):
    with manager(target) as place:
        (place / "half" if place.is_dir() else place).write_text("half")
        raise error


def test_file_appears_whole_in_a_new_folder(tmp_path):
    with atomic_file(tmp_path / "a/b/out.png") as path:
        assert path.suffix == ".png"
        path.write_text("x")
        assert not (tmp_path / "a/b/out.png").exists()
    assert tree(tmp_path) == ["a", "a/b", "a/b/out.png"]
    assert stat.S_IMODE((tmp_path / "a/b/out.png").stat().st_mode) & 0o400


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "out.txt").write_text("old")
    with pytest.raises(RuntimeError):
        fail_midway(atomic_file, tmp_path / "out.txt", RuntimeError())
    with pytest.raises(KeyboardInterrupt):
        fail_midway(atomic_file, tmp_path / "new/x.txt", KeyboardInterrupt())
    assert tree(tmp_path) == ["out.txt"]
    assert (tmp_path / "out.txt").read_text() == "old"


def test_what_a_killed_process_left_goes_with_the_next_output(tmp_path):
    script = (
        "import os, sys; from geometry.atomic import atomic_folder\n"
        "with atomic_folder(sys.argv[1]) as folder:\n"
        "    (folder / 'half').write_text('x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "out"], cwd=ROOT, check=False)
    left = tree(tmp_path)
    assert len(left) == 2
    (tmp_path / ".out-half.part").mkdir()  # not of that form: nobody's
    with atomic_folder(tmp_path / "other"), atomic_folder(tmp_path / "out"):
        assert not (tmp_path / left[0]).exists()
        with atomic_folder(tmp_path / "out"):  # of a process that runs
            assert len(tree(tmp_path)) == 4
    assert tree(tmp_path) == [".out-half.part", "other", "out"]


def test_full_disk_is_one_clear_line(tmp_path):
    for manager in (atomic_file, atomic_folder):
        with pytest.raises(InputError, match="no space left"):
            fail_midway(manager, tmp_path / "out", OSError(errno.ENOSPC, "No space left on device"))
    assert tree(tmp_path) == []


def test_a_folder_in_the_way_of_a_file(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="found a folder"), atomic_file(tmp_path / "out"):
        pass
    (tmp_path / "f").write_text("")
    with pytest.raises(InputError, match="found a file"), atomic_folder(tmp_path / "f"):
        pass
    with pytest.raises(InputError), atomic_folder(tmp_path / "f/out"):
        pass


def test_new_folder_appears_at_once(tmp_path):
    with atomic_folder(tmp_path / "a/out") as folder:
        (folder / "frames").mkdir()
        (folder / "frames/0.png").write_text("0")
        assert not (tmp_path / "a/out").exists()
    assert tree(tmp_path) == ["a", "a/out", "a/out/frames", "a/out/frames/0.png"]


def test_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        fail_midway(atomic_folder, tmp_path / "a/out", RuntimeError())
    assert tree(tmp_path) == []


def test_existing_folder_keeps_a_persons_files(tmp_path):
    out = tmp_path / "out"
    (out / "frames").mkdir(parents=True)
    (out / "notes.txt").write_text("mine")
    (out / "frames/9.png").write_text("mine")
    (out / "frames/0.png").write_text("old")
    with atomic_folder(out) as folder:
        (folder / "frames").mkdir()
        (folder / "frames/0.png").write_text("new")
    assert tree(tmp_path) == ["out", "out/frames", "out/frames/0.png", "out/frames/9.png", "out/notes.txt"]
    assert (out / "frames/0.png").read_text() == "new"
    assert (out / "notes.txt").read_text() == "mine"


def test_failure_on_an_existing_folder_changes_nothing(tmp_path):
    (tmp_path / "out/a").mkdir(parents=True)

    def write():
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "0").write_text("new")
            (folder / "a").write_text("a file where a person's folder is")

    with pytest.raises(InputError, match="in the way"):
        write()
    assert tree(tmp_path) == ["out", "out/a"]
