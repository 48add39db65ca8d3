"""Where a debugger may connect."""

from pathlib import Path

import pytest

from innkeeper.config import GdbConfig
from innkeeper.errors import ConfigError


def test_both_forms() -> None:
    assert GdbConfig.parse("0") == GdbConfig(port=0)
    assert GdbConfig.parse("unix:/run/a,wait") == GdbConfig(path=Path("/run/a"), wait=True)


@pytest.mark.parametrize("text", ["", "tcp:1", "65536", "-1", "1234,", "1234,now", "unix:", "０"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="PORT, unix:PATH"):
        GdbConfig.parse(text)


def test_exactly_one_place() -> None:
    with pytest.raises(ConfigError, match="port or a path"):
        GdbConfig()
