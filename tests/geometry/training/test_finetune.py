"""Fine-tuning on one's own captures: held-out photos, where it starts, early stop, low-rank parts."""

import json

import numpy as np
import pytest
import torch
from scenes import make_arc, names_of, save, write_colmap

from geometry.commands import experiment, train
from geometry.engine import SampleRequest
from geometry.errors import InputError
from geometry.layers.lora import add_lora, merged_lora
from geometry.models.zoo import build
from geometry.sampling.dataset import SamplingDataset
from geometry.sampling.mixture import Mixture, Part
from geometry.training.architecture import any_view_network
from geometry.training.initialise import initialise
from geometry.views import Views
from geometry.weights.checkpoint import find_checkpoint, load_network, save_checkpoint
from tests.golden.weights import filled_network

pytestmark = pytest.mark.extended  # whole runs, seconds each

SMALL = [
    "experiment=geometry/finetune",
    "model.variant=tiny",
    "threads=1",
    "data.sampler.image_sizes=[[28,42]]",
    "data.sampler.tokens=108",
    "data.workers=0",
    "validation.held_out.image_size=[28,42]",
    "validation.held_out.samples=2",
    "loop.device=cpu",
    "loop.precision.compute=float32",
    "loop.log_every=1",
    "loop.tensorboard=false",
    "loop.schedule.warmup_steps=0",
    "loop.validate_every=1",
]


@pytest.fixture(scope="module")
def captures(tmp_path_factory):
    """Captures of 12 and 5 photos."""
    root = tmp_path_factory.mktemp("captures")
    for name, photos in (("garden", 12), ("shed", 5)):
        views = make_arc(photos, size=(56, 84))
        write_colmap(root / name, views)
        for photo, view in zip(names_of(photos), views):
            save(root / name / "depth" / photo, (1000 * view.depth).astype(np.uint16))
    return root


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """A released model's file whose weights are the golden rule's."""
    path = tmp_path_factory.mktemp("golden") / "model.safetensors"
    network = filled_network("small")
    save_checkpoint(path, network, variant="small", released=True, licence="none")
    return path


def test_it_starts_exactly_where_inference_with_the_released_weights_is(golden):
    views = Views(images=torch.rand(1, 3, 3, 42, 28, generator=torch.Generator().manual_seed(0)))
    network = any_view_network("small")
    assert "whole" in initialise(network, str(golden))
    released = load_network(find_checkpoint(str(golden)))
    ours, theirs = network.eval()(views), released(views)
    for name in ("depth", "depth_conf", "rays", "ray_conf", "pose_encoding"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    clean = any_view_network("small")
    clean.load_state_dict(network.state_dict())
    assert not torch.equal(clean.eval()(views).depth, theirs.depth)


def parts_of(captures, **options):
    source = experiment.instantiate(
        {"_target_": "geometry.datasets.colmap_folder.ColmapFolders", "root": captures}
    )
    return Mixture({"one": Part(source=source, **options)})


def test_every_scene_has_photos_held_out_that_training_never_sees(captures):
    trained, held = parts_of(captures, holdout=4), parts_of(captures, holdout=4, held_out=True)
    for scene, photos in zip(trained.parts["one"].source.names, (12, 5)):
        a, b = ({f.name for f in m.read("one", scene).frames} for m in (trained, held))
        assert not a & b
        assert len(a | b) == photos
        assert len(b) == (3 if photos == 12 else 2)


def test_a_capture_gives_as_many_views_as_it_has(captures):
    dataset = SamplingDataset(parts_of(captures), image_size=(28, 42), fewer_views=True)

    def sample(seed):
        return dataset[SampleRequest(index=seed, number=seed, step=0, seed=seed, views=18)]

    samples = [sample(seed) for seed in range(12)]
    assert {s.views.images.shape[1] for s in samples} == {12, 5}
    assert dataset.collate(samples).truth.depth.shape == (12, 5, 28, 42)
    with pytest.raises(InputError, match="at least 18 posed views"):
        SamplingDataset(parts_of(captures), image_size=(28, 42), views=18)[0]


def test_the_command_scores_before_keeps_the_best_and_stops(captures, tmp_path, capsys):
    init = tmp_path / "start.safetensors"
    save_checkpoint(init, build("tiny", released=True), variant="tiny", released=True, licence="none")
    one = "data.dataset.mixture.parts.one.source"
    root, depth = f"{one}.root={captures}", f"{one}.depth=depth"
    options = [
        *SMALL,
        root,
        depth,
        f"init={init}",
        f"out={tmp_path}/run",
        "optimizer.lr=0.0",
        "loop.saving.patience=2",
    ]
    assert train.main([*options, "loop.steps=50", "+lora.rank=2"]) == 0
    said = capsys.readouterr().out
    entries = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    scored = {e["step"]: e["metrics"]["absrel"] for e in entries if e["kind"] == "validation"}
    best = min(scored, key=scored.get)
    assert list(scored) == [0, 1, 2]  # nothing gets better at that rate
    assert best == 0
    assert f"absrel {scored[0]:.4g} at the start, {scored[best]:.4g} best (step {best})" in said
    assert "(saving.patience)" in said
    exported = find_checkpoint(f"{tmp_path}/run")
    assert exported.metadata["checkpoint"] == f"step_{best:08d}"
    assert exported.released
    begun = load_network(find_checkpoint(str(init))).state_dict()
    for name, weight in load_network(exported).state_dict().items():
        assert ".spares." in name or torch.equal(weight, begun[name])
    # The same command has nothing left to do.
    assert train.main([*options, "loop.steps=50", "+lora.rank=2"]) == 0
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == len(entries)


def test_low_rank_parts_change_nothing_at_first_and_are_merged_at_the_end(batch):
    network = any_view_network("tiny").eval()
    before = network(batch.views).depth
    plain_names = set(network.state_dict())
    assert add_lora(network.backbone.blocks, rank=3, layers=("qkv", "fc1")) == 24
    assert torch.equal(network(batch.views).depth, before)
    for block in network.backbone.blocks:
        torch.nn.init.normal_(block.attn.qkv.lora_b, std=0.1)
        torch.nn.init.normal_(block.mlp.fc1.lora_b, std=0.1)
    after = network(batch.views).depth
    assert not torch.allclose(after, before, rtol=1e-3)
    weights = merged_lora(network, dict(network.state_dict()))
    assert set(weights) == plain_names
    merged = any_view_network("tiny").eval()
    merged.load_state_dict(weights)
    torch.testing.assert_close(merged(batch.views).depth, after, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"lora.layers: expected some of fc1, fc2, proj, qkv, got \['key'\]"):
        add_lora(network.backbone.blocks, rank=3, layers=("key",))


def test_with_low_rank_parts_the_rest_of_the_backbone_is_frozen():
    cfg = experiment.load_config(
        ["experiment=geometry/finetune", "model.variant=tiny", "+lora.rank=4", "validation=none"]
    )
    step = experiment.instantiate(cfg.step)
    add_lora(step.model.backbone.blocks, **cfg.lora)
    names = {name for group in step.trainable_parameters() for name in group.parameters}
    backbone = {name for name in names if name.startswith("backbone.")}
    assert len(backbone) == 2 * 24  # A and B of two layers of twelve blocks
    assert all(".lora_" in name for name in backbone)
    assert any(name.startswith("depth_head.") for name in names)


def test_layer_decay_and_drop_path_come_from_the_configuration():
    options = ["experiment=geometry/da3_tiny", "step.layer_decay=0.5", "model.drop_path=0.3"]
    step = experiment.instantiate(experiment.load_config(options).step)
    factor = {name: g.lr_factor for g in step.trainable_parameters() for name in g.parameters}
    assert factor["backbone.blocks.11.attn.qkv.weight"] == 1
    assert factor["backbone.blocks.9.attn.qkv.weight"] == 0.25
    assert factor["backbone.patch_embed.proj.weight"] == 0.5**12
    assert factor["depth_head.ray_out.weight"] == 1
    blocks = step.model.backbone.blocks
    assert [round(b.drop_path, 3) for b in blocks][::11] == [0, 0.3]
    x, block = torch.rand(2000, 1, step.model.backbone.width), blocks[-1]
    block.drop_path = 0.5
    torch.manual_seed(0)
    same = (block(x) == x).flatten(1).all(-1).float().mean()
    assert 0.2 < same < 0.3  # rows that skip both branches
    assert not (block.eval()(x) == x).flatten(1).all(-1).any()
