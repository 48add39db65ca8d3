"""A running machine's screen, keys and control socket, from outside."""

import json
import os
import shutil
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper._core import MemoryScreen
from innkeeper.cli import main
from innkeeper.cli.status import Status
from innkeeper.config import GraphicsConfig, MachineConfig
from innkeeper.display.keys import press, typing
from innkeeper.errors import HostError
from innkeeper.machine import upkeep
from innkeeper.machine.control import ControlServer, ask
from innkeeper.machine.desk import Desk
from innkeeper.machine.front import Front
from innkeeper.machine.names import control_of, process_of, running
from tests.display.rfb.client import Client
from tests.display.rfb.conftest import Sink, wait_for


@pytest.fixture
def screen(user: Path) -> MemoryScreen:
    assert user.exists()
    screen = MemoryScreen()
    screen.resize(3, 2)
    screen.draw(0, 0, 3, 2, struct.pack("<6I", 0xFF0000, 0x00FF00, 0x0000FF, 0, 0x808080, 0xFFFFFF))
    return screen


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def front(screen: MemoryScreen, sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    monkeypatch.setattr(upkeep, "LOOK_S", 0.01)
    config = MachineConfig(
        kernel=Path("vmlinuz"),
        name="one",
        control=tmp_path / "control",
        graphics=(GraphicsConfig(), GraphicsConfig(socket=tmp_path / "vnc")),
    )
    desk = Desk(screen.screen)
    desk.plug(sink)
    front = Front(config, desk)
    front.start()
    yield front
    front.close()


@pytest.mark.usefixtures("front")
def test_a_screenshot_is_a_png_or_ppm_of_the_screen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ppm, png = tmp_path / "shot.ppm", tmp_path / "shot.png"
    assert main(["screenshot", str(ppm)]) == Status.DONE
    assert main(["screenshot", "--name", "one", str(png)]) == Status.DONE

    assert ppm.read_bytes() == b"P6\n3 2\n255\n" + bytes(
        [255, 0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 128, 128, 128, 255, 255, 255]
    )
    assert png.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir() if "shot" in path.name) == ["shot.png", "shot.ppm"]
    assert main(["screenshot", str(tmp_path / "no" / "shot.png")]) == Status.MISTAKE
    assert main(["screenshot", str(tmp_path / "shot.gif")]) == Status.MISTAKE
    assert "name it .png, .ppm or .txt" in capfd.readouterr().err


@pytest.mark.usefixtures("front")
def test_a_text_screen_can_be_read(screen: MemoryScreen, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shot = tmp_path / "shot.txt"
    assert main(["screenshot", str(shot)]) == Status.MISTAKE
    assert "take the screenshot as PNG" in capfd.readouterr().err
    screen.set_text([(ord(letter), 7) for letter in "boot:  "] + [(0xC4, 7)] * 7, 7, 2, (6, 0))
    assert main(["screenshot", str(shot)]) == Status.DONE

    assert shot.read_text() == "boot:\n───────\n"


@pytest.mark.usefixtures("front")
def test_keys_and_text_arrive(sink: Sink, tmp_path: Path) -> None:
    assert main(["send-key", "--control", f"unix:{tmp_path / 'control'}", "--hold", "1", "ctrl-alt-f2", "ret"]) == 0
    assert sink.keys == press([29, 56, 60]) + press([28])
    sink.keys.clear()
    assert main(["type", "--delay", "0", "--enter", "Hello,", "world"]) == 0
    assert sink.keys == typing("Hello, world\n")


@pytest.mark.usefixtures("front")
def test_both_viewers_show_the_screen(tmp_path: Path) -> None:
    (tcp, unix) = ask(tmp_path / "control", "info")["vnc"]
    host, _, port = tcp.rpartition(":")
    over_unix = socket.socket(socket.AF_UNIX)
    over_unix.connect(unix.removeprefix("unix:"))
    for connection in (socket.create_connection((host, int(port))), over_unix):
        with Client(connection) as client:
            client.shake_hands()
            client.update()
            assert client.name == "one"
            assert client.pixels[:3] == [0xFF0000, 0x00FF00, 0x0000FF]


@pytest.mark.usefixtures("front")
@pytest.mark.parametrize(
    "gone", ["run/innkeeper", "run/innkeeper/one", "run/innkeeper/one/lock", "run/innkeeper/one/control"]
)
def test_a_machine_is_found_again_when_somebody_has_cleaned_up(user: Path, gone: str) -> None:
    screen = ask(control_of("one"), "view")["path"]
    place = user / gone
    shutil.rmtree(place) if place.is_dir() else place.unlink()

    wait_for(lambda: running() == ["one"] and control_of("one").is_socket())
    assert process_of("one") == os.getpid()
    assert ask(control_of("one"), "info")["name"] == "one"
    assert ask(control_of("one"), "view")["path"] == screen
    viewer = socket.socket(socket.AF_UNIX)
    viewer.connect(screen)
    with Client(viewer) as client:
        client.shake_hands()
        assert client.name == "one"


@pytest.mark.usefixtures("front")
@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"hello\n", "no JSON"),
        (b"[" * 100000 + b"\n", "no JSON"),
        (b"[]\n", "says not what to do"),
        (b'{"version": 2, "do": "info"}\n', "speaks version 1"),
        (b'{"version": 1, "do": "fly"}\n', "it can do graphics, info, screenshot, strike, text, view"),
        (b'{"version": 1, "do": "strike", "strokes": [[0, true]]}\n', "from 1 to 255"),
        (b'{"version": 1, "do": "strike", "strokes": [[true, true]]}\n', "from 1 to 255"),
        (b'{"version": 1, "do": "strike", "strokes": 5}\n', "must be a list"),
        (b'{"version": 1, "do": "strike", "strokes": [], "pause_ms": 1e9}\n', "pause_ms must be"),
    ],
)
def test_requests_that_are_none_are_answered_with_a_sentence(tmp_path: Path, line: bytes, answer: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "control"))
        connection.sendall(line)
        with connection.makefile("rb") as lines:
            assert answer in json.loads(lines.readline())["error"]
            connection.sendall(b'{"version": 1, "do": "info"}\n')
            assert json.loads(lines.readline())["ok"]["name"] == "one"


def test_a_request_without_end_is_not_kept(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / "control", {})
    server.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(tmp_path / "control"))
        with pytest.raises(ConnectionError):
            connection.sendall(bytes(200 << 20))
    server.close()


def test_who_is_typing_when_the_run_ends_stops_and_lets_go(front: Front, sink: Sink, tmp_path: Path) -> None:
    complaints: list[str] = []

    def strike() -> None:
        try:
            ask(tmp_path / "control", "strike", strokes=[(30, True), (31, True)] * 100, pause_ms=1000)
        except HostError as error:
            complaints.append(str(error))

    typist = threading.Thread(target=strike)
    typist.start()
    wait_for(lambda: bool(sink.keys))
    front.close()
    typist.join(10)

    assert not typist.is_alive()
    assert len(complaints) == 1
    assert sink.keys[-1] == (30, False)


def test_a_machine_without_a_display_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(HostError, match="no display"):
        Front(MachineConfig(kernel=Path("vmlinuz"), name="one", graphics=(GraphicsConfig(),)), Desk(None))
    front = Front(MachineConfig(kernel=Path("vmlinuz"), name="one"), Desk(None))  # the name is free again
    front.start()
    with pytest.raises(HostError, match="the machine has no display"):
        ask(tmp_path / "innkeeper/one/control", "screenshot")
    front.close()


def test_nobody_to_reach_is_said(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot reach a machine at"):
        ask(tmp_path / "control", "info")


@pytest.mark.usefixtures("front")
def test_virsh_has_words_of_its_own_for_screens_and_keys(
    tmp_path: Path, sink: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "shot.ppm"
    assert main(["virsh", "screenshot", "one", str(file)]) == 0
    assert f"Screenshot saved to {file}" in capsys.readouterr().out
    assert file.read_bytes().startswith(b"P6\n3 2\n")
    assert main(["virsh", "send-key", "one", "--holdtime", "1", "KEY_LEFTCTRL", "KEY_C"]) == 0
    assert sink.keys == press([29, 46])
    for words, complaint in ((["one", "KEY_NONE"], "KEY_NONE"), (["--codeset", "xt", "one", "1"], "codeset is 'xt'")):
        assert main(["virsh", "send-key", *words]) == 1
        assert complaint in capsys.readouterr().err
