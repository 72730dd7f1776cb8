"""The student's step: frames, references, conditioning, scores; one batch can be learned."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from geometry.engine.activation_checkpoint import checkpoint_activations
from geometry.errors import InputError
from geometry.losses.objective import AnyViewObjective
from geometry.training.architecture import any_view_network
from geometry.training.scores import score_any_view
from geometry.training.student import StudentStep, draw_conditioned, draw_reference


def step_of(model, **options):
    return StudentStep(model, AnyViewObjective(), **options)


def test_a_network_that_answers_in_the_reference_frame_has_no_loss(oracle, batch, generator):
    loss, terms = step_of(oracle).training_loss(batch, generator)
    assert set(terms) == {"depth", "ray", "point", "camera", "gradient"}
    for name, term in terms.items():
        assert abs(term.item()) < 1e-4, name
    assert abs(loss.item()) < 1e-3


def test_a_network_that_ignores_the_reference_has_a_loss(oracle, batch):
    class Deaf(type(oracle)):
        def forward(self, views, **told):
            told["reference"] = torch.tensor([2, 2])
            return super().forward(views, **told)

    torch.manual_seed(0)
    step = step_of(Deaf(batch.truth), reference="first")
    _, terms = step.training_loss(batch, torch.Generator().manual_seed(0))
    assert terms["ray"] > 0.01
    assert terms["camera"] > 0.01
    assert terms["point"] > 0.01


def test_the_loss_does_not_depend_on_the_world(batch, moved):
    torch.manual_seed(0)
    model = any_view_network("tiny").eval()
    losses = [
        step_of(model).training_loss(b, torch.Generator().manual_seed(5))[0].item() for b in (batch, moved)
    ]
    assert_close(losses[0], losses[1], rtol=1e-3, atol=1e-4)


def test_given_cameras_are_normalised_and_only_some_samples_see_them(oracle, batch):
    step = step_of(oracle, pose_probability=0.5)
    shown = []
    for seed in range(40):
        step.training_loss(batch, torch.Generator().manual_seed(seed))
        views, reference = oracle.seen[-1]
        conditioned = views.known.all(1)
        assert (views.known.any(1) == conditioned).all()
        shown.append(conditioned.float().mean())
        first = views.cameras.extrinsics[:, 0]
        assert_close(first, torch.eye(4).expand_as(first), atol=1e-5, rtol=0)
        assert (reference[conditioned] == 0).all()
    assert 0.3 < torch.stack(shown).mean() < 0.7
    assert {int(r) for _, reference in oracle.seen for r in reference} == {0, 1, 2}


def test_some_samples_see_some_of_their_cameras(oracle, batch):
    step = step_of(oracle, pose_probability=0.9, partly_posed=0.5)
    counts = set()
    for seed in range(20):
        step.training_loss(batch, torch.Generator().manual_seed(seed))
        views, reference = oracle.seen[-1]
        assert (views.known[:, 0] == views.known.any(1)).all()
        assert (reference[views.known.any(1)] == 0).all()
        counts |= {int(n) for n in views.known.sum(1)}
    assert counts == set(range(batch.views.images.shape[1] + 1))


def test_without_conditioning_no_camera_reaches_the_network(oracle, batch, generator):
    step_of(oracle, pose_probability=0.0).training_loss(batch, generator)
    assert oracle.seen[-1][0].cameras is None


def test_without_conditioning_the_camera_encoder_is_not_trained():
    with torch.device("meta"):
        step = step_of(any_view_network("tiny"), pose_probability=0.0)
    names = [n for group in step.trainable_parameters() for n in group.parameters]
    assert names
    assert not any(n.startswith("camera_encoder") for n in names)


def test_frozen_parts_stay_out():
    with torch.device("meta"):
        step = step_of(any_view_network("tiny"), learning_rates={"": 1.0, "backbone": 0.0})
    names = [n for group in step.trainable_parameters() for n in group.parameters]
    assert names
    assert not any(n.startswith("backbone") for n in names)


def test_draws_follow_the_generator(unchecked):
    first, second = (
        draw_conditioned(1000, 0.2, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert (first == second).all()
    assert 0.15 < first.float().mean() < 0.25
    reference = draw_reference(1000, 4, first, "random", generator=torch.Generator().manual_seed(2))
    assert (reference[first] == 0).all()
    counts = reference[~first].bincount(minlength=4)
    assert counts.min() > 150
    with pytest.raises(ValueError, match="reference"):
        draw_reference(2, 2, first[:2], "middle", generator=torch.Generator())


def test_scores_of_the_truth_are_perfect_and_know_no_scale(oracle, batch, moved):
    for sample in (batch, moved):
        scores, pictures = score_any_view(oracle, sample)
        assert scores["absrel"] < 1e-4
        assert scores["delta1"] > 0.999
        assert scores["auc30"] > 0.99
        assert scores["auc30_rays"] > 0.9
        assert set(pictures) == {"depth", "cameras", "points"}
        assert all(p.shape[0] == 3 and p.min() >= 0 and p.max() <= 1 for p in pictures.values())


def test_scores_see_a_wrong_depth_and_a_wrong_camera(oracle, batch):
    class Wrong(type(oracle)):
        def forward(self, views, **told):
            out = super().forward(views, **told)
            E = out.cameras.extrinsics.flip(1)
            ramp = torch.linspace(0.5, 1.5, out.depth.shape[-1])
            return replace(out, depth=out.depth * ramp, cameras=replace(out.cameras, extrinsics=E))

    scores, _ = score_any_view(Wrong(batch.truth), batch)
    assert scores["absrel"] > 0.1
    assert scores["auc30"] < 0.9


@pytest.mark.extended
def test_one_batch_is_learned_term_by_term(batch):
    torch.manual_seed(0)
    step = step_of(any_view_network("tiny"), pose_probability=0.5)
    optimizer = torch.optim.AdamW(step.model.parameters(), lr=5e-4)
    history = []
    for index in range(25):
        loss, terms = step.training_loss(batch, torch.Generator().manual_seed(index % 3))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({k: v.item() for k, v in terms.items()})
    for name in ("depth", "ray", "point", "camera"):
        assert sum(h[name] for h in history[-3:]) < 0.75 * sum(h[name] for h in history[:3]), name
    assert sum(h["gradient"] for h in history[-3:]) < 1.05 * sum(h["gradient"] for h in history[:3])


def test_autocast_reaches_the_network_and_not_the_cameras(batch):
    """In bfloat16 the target of a ray would be off by a degree, and torch refuses to invert a matrix."""
    torch.manual_seed(0)
    step = step_of(any_view_network("tiny").eval(), pose_probability=0.5)
    wanted = step.training_loss(batch, torch.Generator().manual_seed(5))[1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        came = step.training_loss(batch, torch.Generator().manual_seed(5))[1]
    for name, term in wanted.items():
        assert came[name].dtype == torch.float32
        assert_close(came[name], term, rtol=0.02, atol=0.02)


def test_autocast_does_not_reach_the_scores(oracle, batch):
    wanted, _ = score_any_view(oracle, batch)
    oracle.forward = torch.autocast("cpu", enabled=False)(oracle.forward)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        came, _ = score_any_view(oracle, batch)
    assert came == wanted


def test_depth_can_be_trained_on_a_part_of_the_samples(batch):
    """The dense terms are those of the first sample alone, the camera term that of both."""
    torch.manual_seed(0)
    model = any_view_network("tiny")
    options = {"reference": "first", "pose_probability": 0.0}
    seed = torch.Generator().manual_seed
    _, whole = step_of(model, **options).training_loss(batch, seed(0))
    _, part = step_of(model, dense_share=0.5, **options).training_loss(batch, seed(0))
    _, alone = step_of(model, **options).training_loss(batch.map(lambda t: t[:1]), seed(0))
    assert_close(part["camera"], whole["camera"])
    for name in ("depth", "ray", "point", "gradient"):
        assert_close(part[name], alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with torch.device("meta"):
        model = any_view_network("tiny")
    with pytest.raises(InputError, match="dense_share: expected"):
        step_of(model, dense_share=share)


@pytest.mark.extended
def test_recomputed_blocks_and_dense_heads_give_the_same_gradients(batch):
    """With views decoded one at a time, as where memory is short."""
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        step = step_of(any_view_network("tiny"), chunk=1)
        if recompute:
            checkpoint_activations([*step.blocks(), *step.heads()])
        loss, _ = step.training_loss(batch, torch.Generator().manual_seed(1))
        loss.backward()
        gradients.append({n: p.grad for n, p in step.model.named_parameters() if p.grad is not None})
    plain, again = gradients
    assert plain.keys() == again.keys()
    assert any(n.startswith("depth_head.") for n in plain)
    for name, gradient in plain.items():
        assert_close(again[name], gradient, msg=lambda text, name=name: f"{name}: {text}")
