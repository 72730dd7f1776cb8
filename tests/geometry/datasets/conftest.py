import pytest
from scenes import make_room


@pytest.fixture(scope="session")
def room():
    """Three views of a textured room with exact depth and cameras."""
    return make_room()
