"""The engines that tests run guests with: those of this project, which need nothing of the host's kernel."""

import pytest

from innkeeper.config import EngineChoice
from innkeeper.engine import choose
from innkeeper.errors import EngineUnavailable

SOFTWARE = (EngineChoice.INTERP, EngineChoice.BT)


def reason_against(engine: EngineChoice) -> str | None:
    """Why this host cannot run guests with `engine`; None if it can."""
    try:
        choose(engine, frozenset())
    except EngineUnavailable as error:
        return str(error)
    return None


def fastest_software() -> EngineChoice:
    """For tests to which it does not matter which engine runs the guest."""
    return EngineChoice.INTERP if reason_against(EngineChoice.BT) else EngineChoice.BT


def skip_unless_available(engine: EngineChoice) -> None:
    if reason := reason_against(engine):
        pytest.skip(reason)
