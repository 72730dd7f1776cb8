"""`geometry export`: a folder for the hub, and the upload, without a hub."""

import json

import huggingface_hub
import pytest
from scenes import make_arc, write_colmap

from geometry.commands import export, train
from geometry.models.zoo import build
from geometry.weights.checkpoint import find_checkpoint, load_network, save_checkpoint
from geometry.weights.hub import NON_COMMERCIAL

pytestmark = pytest.mark.extended  # whole runs, seconds each

OPTIONS = [
    "experiment=geometry/finetune",
    "validation=none",
    "model.variant=tiny",
    "init=null",
    "threads=1",
    "data.sampler.image_sizes=[[28,42]]",
    "data.sampler.tokens=18",
    "data.sampler.views=[2,3]",
    "data.workers=0",
    "loop.steps=1",
    "loop.device=cpu",
    "loop.precision.compute=float32",
    "loop.tensorboard=false",
    "loop.validate_every=null",
    "loop.validate_first=false",
    "loop.saving.patience=null",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("run")
    write_colmap(root / "captures/garden", make_arc(5, size=(56, 84)))
    source = f"data.dataset.mixture.parts.one.source.root={root}/captures"
    assert train.main([*OPTIONS, source, f"out={root}/run", "export.licence=my own"]) == 0
    meta = root / "run/checkpoints/step_00000001/meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"metrics": {"absrel": 0.25}}))
    return root


def test_the_folder_holds_weights_that_load_and_a_card_without_paths(trained, tmp_path):
    out = tmp_path / "my-model"
    assert export.main([str(trained / "run"), "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    load_network(find_checkpoint(str(out)))
    config = json.loads((out / "config.json").read_text())
    assert config["model_name"] == "tiny"
    assert config["parameters"] > 8e6
    card = (out / "README.md").read_text()
    for line in (
        "license: other",
        'license_name: "my own"',
        "- ColmapFolders",
        "| absrel | 0.25 |",
        "at step 1",
    ):
        assert line in card
    assert str(trained) not in card + json.dumps(config)


def test_it_is_uploaded_where_asked(tmp_path, monkeypatch, capsys):
    save_checkpoint(
        tmp_path / "best.safetensors", build("tiny"), variant="tiny", released=False, licence=NON_COMMERCIAL
    )
    did = []

    class Api:
        def create_repo(self, name, **options):
            did.append((name, options))

        def upload_folder(self, repo_id, folder_path):
            did.append((repo_id, sorted(p.name for p in folder_path.iterdir())))

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    command = [str(tmp_path), "--out", str(tmp_path / "out"), "--push", "me/tiny"]
    assert export.main(command) == 0
    assert did[0] == ("me/tiny", {"private": True, "exist_ok": True})
    assert did[1] == ("me/tiny", ["README.md", "config.json", "model.safetensors"])
    assert "license: cc-by-nc-4.0" in (tmp_path / "out/README.md").read_text()
    monkeypatch.setattr(Api, "create_repo", lambda *a, **k: (_ for _ in ()).throw(OSError("no connection")))
    assert export.main(command) == 2
    assert "could not be uploaded to me/tiny: no connection" in capsys.readouterr().err
    assert export.main([str(tmp_path / "out/none"), "--out", str(tmp_path / "out")]) == 2
    assert "expected the folder of a finished run" in capsys.readouterr().err
