"""Starting weights: checkpoints whole or with fresh parts, one line otherwise."""

import pytest
import torch

from geometry.errors import InputError
from geometry.training.architecture import any_view_network, monocular_network, teacher_network
from geometry.training.initialise import initialise, load_known


def test_there_is_no_dinov2_of_our_own_size():
    with pytest.raises(InputError, match="DINOv2 of width 192"):
        initialise(any_view_network("tiny"), "dinov2")


def test_a_teacher_starts_from_a_monocular_network():
    plain, teacher = monocular_network("mono-tiny"), teacher_network("mono-tiny")
    assert "objects_out" in load_known(teacher, plain.state_dict(), "mono")
    torch.testing.assert_close(teacher.backbone.cls_token, plain.backbone.cls_token)
    with pytest.raises(InputError, match="unexpected"):
        load_known(monocular_network("mono-tiny"), teacher.state_dict(), "teacher")
