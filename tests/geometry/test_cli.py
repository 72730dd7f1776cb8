"""What the commands share."""

import pytest
from pretended_cuda import pretended_cuda

from geometry.device import pick_device
from geometry.errors import InputError


def test_a_device_is_the_cpu_or_a_cuda_one():
    assert str(pick_device("cpu")) == "cpu"
    with pretended_cuda():
        assert [str(pick_device(name)) for name in ("auto", "cuda", "cuda:0")] == ["cuda", "cuda", "cuda:0"]


@pytest.mark.parametrize("name", ["mps", "meta", "cuda:", "cuda:x", "gpu"])
def test_other_devices_are_refused_in_one_short_line(name):
    with pytest.raises(InputError, match=f"expected cpu, cuda or cuda:N, got {name}; .*mps") as caught:
        pick_device(name)
    assert len(str(caught.value)) < 120
