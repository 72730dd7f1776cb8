import signal
import sys
import urllib.request

import numpy as np
import pytest
from programs import Program
from scenes import make_gaussians

from geometry.errors import InputError
from geometry.scenes.transforms_json import write_scene
from geometry.visualize import write_image
from nvs import viewer
from nvs.commands.view import main


@pytest.fixture
def folder(tmp_path, generator):
    """What `nvs render` leaves, as far as the viewer looks."""
    make_gaussians(50, generator, degree=1).save(tmp_path / "gaussians.ply")
    (tmp_path / "images").mkdir()
    names = [f"images/{i}.png" for i in range(3)]
    for name in names:
        write_image(tmp_path / name, np.full((30, 40, 3), 99, np.uint8))
    extrinsics = np.tile(np.eye(4), (3, 1, 1))
    extrinsics[:, 0, 3] = (-1, 0, 1)
    K = np.tile(np.array([[40.0, 0, 20], [0, 40, 15], [0, 0, 1]]), (3, 1, 1))
    write_scene(tmp_path / "transforms.json", names, extrinsics, K, [(30, 40)] * 3)
    return tmp_path


def test_cameras_are_hidden_until_asked_for(folder):
    """Else the first photo's thumbnail stands before the eye and looks like the rendering."""
    pytest.importorskip("viser")
    server = viewer.serve(folder, port=18280)
    try:
        frusta = [server.scene.get_handle_by_name(f"/cameras/images/{i}.png") for i in range(3)]
        assert [f.visible for f in frusta] == [False] * 3
        assert server.initial_camera.fov == pytest.approx(2 * np.arctan(15 / 40))
    finally:
        server.stop()


@pytest.mark.parametrize("with_cameras", [True, False])
def test_it_starts_and_serves(folder, with_cameras):
    pytest.importorskip("viser")
    if not with_cameras:
        (folder / "transforms.json").unlink()
    server = viewer.serve(folder, port=18080)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.get_port()}", timeout=10) as page:
            assert page.status == 200
            assert b"<html" in page.read()[:2000].lower()
    finally:
        server.stop()


def test_the_command_announces_its_address_and_ends_on_interrupt(folder, tmp_path):
    pytest.importorskip("viser")
    program = Program(["-m", "nvs", "view", folder, "--port", "18180"], tmp_path / "said.txt")
    try:
        # viser prints a box of its own first.
        program.wait_for(lambda: "\nopen http://127.0.0.1:18" in f"\n{program.said}")
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 0
    finally:
        program.process.kill()


def test_without_viser_it_says_what_to_install(folder, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "viser", None)
    assert main([str(folder)]) == 2
    message = capsys.readouterr().err
    assert "feedforward-nvs[view]" in message
    assert message.count("\n") == 1


def test_folders_without_gaussians_are_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "gaussians.ply" in capsys.readouterr().err
    (tmp_path / "notes.txt").write_text("x")
    assert main([str(tmp_path / "notes.txt")]) == 2
    assert "notes.txt" in capsys.readouterr().err


def test_a_file_without_a_single_gaussian(tmp_path, generator):
    g = make_gaussians(50, generator, degree=1).map(lambda t: t[:, :0])
    g.save(tmp_path / "gaussians.ply")
    with pytest.raises(InputError, match="holds none"):
        viewer.serve(tmp_path)


def test_other_machines_are_let_in_with_a_warning(folder, capsys, monkeypatch):
    pytest.importorskip("viser")

    class Server:
        def get_port(self) -> int:
            return 1

        def sleep_forever(self) -> None:
            pass

    hosts = []
    monkeypatch.setattr("nvs.viewer.serve", lambda *_, host, **__: hosts.append(host) or Server())
    assert main([str(folder)]) == 0
    assert "WARNING" not in capsys.readouterr().err
    assert main([str(folder), "--host", "0.0.0.0"]) == 0
    assert "lets other machines in" in capsys.readouterr().err
    assert hosts == ["127.0.0.1", "0.0.0.0"]
