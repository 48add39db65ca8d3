"""Guest memory that the host does not give."""

import resource
from collections.abc import Iterator

import pytest

from innkeeper.engine.soft import InterpreterEngine
from innkeeper.errors import HostError


@pytest.fixture
def little_address_space() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.usefixtures("little_address_space")
def test_a_host_that_refuses_memory_says_so() -> None:
    with pytest.raises(HostError, match="the host refuses 65536 MiB of guest memory; give the machine less"):
        InterpreterEngine().create_memory([(0, 0xA0000), (1 << 20, (1 << 36) - (1 << 20))])
