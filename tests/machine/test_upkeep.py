"""A running machine's place, looked after."""

import threading
from collections.abc import Callable

import pytest

from innkeeper.errors import HostError
from innkeeper.machine import upkeep
from innkeeper.machine.upkeep import Upkeep


def test_what_cannot_be_made_again_is_tried_until_it_can_and_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep, "LOOK_S", 0.001)
    tries, made = [0], threading.Event()

    def renew() -> None:
        tries[0] += 1
        if tries[0] < 5:
            raise HostError("there is no /run/user/1000")

    after: Callable[[], None] = made.set
    keeper = Upkeep([renew, after])
    keeper.start()
    assert made.wait(10)
    keeper.close()

    assert tries[0] >= 5
    assert [record.message for record in caplog.records] == [
        "nobody can reach this machine for now: there is no /run/user/1000"
    ]


def test_one_that_never_began_ends() -> None:
    Upkeep([]).close()
