"""`--autoconsole graphical` where there is no desktop: a page for whoever sits at a terminal, and words for everybody else."""

import argparse
from collections.abc import Iterator
from unittest import mock

import pytest

from innkeeper.cli.installing import waiting
from innkeeper.errors import HostError

DISPLAY = {"address": "127.0.0.1:5901", "socket": False, "username": None, "password": "secret"}


@pytest.fixture(autouse=True)
def no_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def served() -> Iterator[mock.Mock]:
    with mock.patch("innkeeper.cli.machines.view.serve") as serve:
        yield serve


def look(*, terminal: bool = False, wait: float | None = None, destroys: bool = False, displays: object = ()) -> None:
    manager = mock.Mock()
    manager.domains.control.side_effect = [displays]
    with mock.patch("sys.stdin.isatty", return_value=terminal):
        waiting.at_screen(argparse.Namespace(destroy_on_exit=destroys, wait=wait, system=False), manager, "web")


@pytest.mark.parametrize(
    ("displays", "words"),
    [
        ([DISPLAY], "inn view web shows the screen in a browser, and vnc://127.0.0.1:1 in a viewer\n"),
        ([], "inn view web shows the screen in a browser\n"),
        (HostError("machine web does not run"), "inn view web shows the screen in a browser\n"),
    ],
)
def test_a_script_is_told_where_the_screen_is(
    displays: object, words: str, served: mock.Mock, capsys: pytest.CaptureFixture[str]
) -> None:
    look(displays=displays)
    assert capsys.readouterr().err == f"there is no desktop here: {words}"
    served.assert_not_called()


def test_who_waits_for_the_installer_is_not_held_up(served: mock.Mock) -> None:
    look(terminal=True, wait=-1.0)
    served.assert_not_called()


@pytest.mark.parametrize(("terminal", "destroys"), [(True, False), (False, True)])
def test_a_page_lasts_as_long_as_somebody_looks(served: mock.Mock, *, terminal: bool, destroys: bool) -> None:
    look(terminal=terminal, destroys=destroys)
    served.assert_called_once()
