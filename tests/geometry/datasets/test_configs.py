"""Every data config composes, and every _target_ in it takes the arguments that it is given."""

import inspect
import json
import pickle
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf
from PIL import Image

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
# Those of the teacher-student example take their folders from its experiments, and are composed with them.
OF_EXPERIMENTS = {"geometry_captures", "geometry_rooms"}
TOP = sorted({p.stem for p in (CONFIGS / "data").glob("*.yaml")} - OF_EXPERIMENTS)
SOURCES = sorted(p.stem for p in (CONFIGS / "data/source").glob("*.yaml"))


def load(name, *overrides):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return compose(overrides=[f"+data={name}", *overrides])["data"]


def check_targets(node, path=""):
    """Arguments by name, nothing called: the data sets are not on this machine."""
    if isinstance(node, dict):
        if "_target_" in node:
            parameters = inspect.signature(get_object(node["_target_"])).parameters
            given = {key for key in node if not key.startswith("_")}
            assert given <= set(parameters), f"{path}: {given - set(parameters)}"
            needed = {
                n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD
            }
            assert needed <= given or node.get("_partial_"), f"{path}: {needed - given} missing"
        for key, value in node.items():
            check_targets(value, f"{path}.{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            check_targets(value, f"{path}[{i}]")


@pytest.mark.extended
@pytest.mark.parametrize("name", TOP)
def test_compositions_fit_the_signatures(name, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", "somewhere")
    check_targets(OmegaConf.to_container(load(name), resolve=True))


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_can_be_picked(name, monkeypatch):
    monkeypatch.setenv("DATA_ROOT", "somewhere")
    picked = f"data/source@data.dataset.mixture.parts.one.source={name}"
    content = OmegaConf.to_container(load("geometry_one", picked), resolve=True)
    check_targets(content)
    assert content["dataset"]["mixture"]["parts"]["one"]["source"]["root"].startswith("somewhere/")


@pytest.mark.parametrize("name", ["geometry_mixture", "nvs_dl3dv", "geometry_one"])
def test_samplers_have_room_for_their_largest_sample(name):
    sampler = instantiate(load(name).sampler, _convert_="all")
    for step in range(50):
        assert sampler.requests(step, seed=0, parts=1, length=None)


@pytest.mark.extended
@pytest.mark.parametrize("name", ["geometry_procedural", "nvs_procedural"])
def test_procedural_configs_give_batches(name):
    stream = instantiate(
        load(
            name,
            "data.workers=0",
            "data.sampler.image_size=[28,42]",
            "data.sampler.views=2",
            "+data.dataset.world.texture_size=64",
        ),
        _convert_="all",
    )
    steps = stream.steps(0, 1, seed=0, rank=0, world_size=1, accumulate=1, device=torch.device("cpu"))
    ((_, batch, _),) = next(iter(steps))
    views = batch.views if name.startswith("geometry") else batch.context.views
    assert views.images.shape[1:] == (2, 3, 28, 42)


def test_a_capture_of_ones_own_gives_batches(tmp_path, room, monkeypatch):
    """From the YAML to a batch, on a transforms.json written here."""
    folder = tmp_path / "transforms/desk"
    folder.mkdir(parents=True)
    (fx, _, cx), (_, fy, cy), _ = room[0].intrinsics
    frames = []
    for i, view in enumerate(room):
        Image.fromarray(view.image).save(folder / f"{i}.png")
        frames.append({"file_path": f"{i}.png", "transform_matrix": view.opengl.tolist()})
    keys = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": 64, "h": 48}
    (folder / "transforms.json").write_text(json.dumps({**keys, "frames": frames}))
    monkeypatch.setenv("DATA_ROOT", str(tmp_path))
    stream = instantiate(
        load(
            "nvs_one",
            "data/source@data.dataset.mixture.parts.one.source=transforms",
            "data.workers=0",
            "data.dataset.targets=1",
            "data.sampler.views=2",
            "data.sampler.image_size=[28,42]",
        ),
        _convert_="all",
    )
    stream.dataset = pickle.loads(pickle.dumps(stream.dataset))  # as to a worker that is not forked
    steps = stream.steps(0, 1, seed=0, rank=0, world_size=1, accumulate=1, device=torch.device("cpu"))
    ((_, batch, _),) = next(iter(steps))
    assert batch.context.views.images.shape == (1, 2, 3, 28, 42)
    assert batch.target.truth.cameras.intrinsics.shape == (1, 1, 3, 3)


def test_a_set_can_be_left_out_of_the_mixture():
    parts = "data.dataset.mixture.parts"
    content = load("geometry_mixture", f"~{parts}.co3d", f"~{parts}.wildrgbd")
    left = content.dataset.mixture.parts
    assert "dl3dv" in left
    assert not {"co3d", "wildrgbd"} & set(left)
