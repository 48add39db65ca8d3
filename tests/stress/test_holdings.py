"""Machines in one process, one after the other, leave nothing behind; `scripts/soak machines` boots Debian for that."""

from pathlib import Path

import pytest

from innkeeper import MachineConfig
from innkeeper.config import EngineChoice
from innkeeper.testing.guests import POWER_OFF, flat_guest, say
from tests.engines import SOFTWARE, skip_unless_available
from tests.soak.machines import is_flat, one_after_the_other

pytestmark = pytest.mark.slow

COUNT = 24


@pytest.mark.parametrize("vcpus", [1, 2])
@pytest.mark.parametrize("engine", SOFTWARE, ids=str)
def test_a_machine_gives_back_what_it_took(tmp_path: Path, engine: EngineChoice, vcpus: int) -> None:
    skip_unless_available(engine)
    kernel = tmp_path / "kernel"
    kernel.write_bytes(flat_guest(say(b"!") + POWER_OFF))
    config = MachineConfig(kernel=kernel, engine=engine, vcpus=vcpus, memory_mib=16, timeout_s=60)

    runs = list(one_after_the_other(config, COUNT))

    assert {said for said, _ in runs} == {"!"}
    assert is_flat([held for _, held in runs])
