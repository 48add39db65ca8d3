"""The page's server, and what it does with those who are not the page."""

import asyncio
import json
import os
import pty
import socket
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper.config import VideoModel
from innkeeper.config.console import ConsoleKind
from innkeeper.devices.uart import IER
from innkeeper.language import preferred
from innkeeper.view.server import FILES, TEXT_LIMIT, VISITORS_LIMIT
from tests.display.rfb.conftest import wait_for
from tests.view.client import BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, Client, frame, serving
from tests.view.outside import machine
from tests.view.test_bundle import STATIC


@pytest.fixture(autouse=True)
def folders(user: Path) -> Path:
    return user


@pytest.fixture
def port() -> Iterator[int]:
    with serving() as port:
        yield port


@pytest.mark.parametrize("path", FILES)
def test_the_page_is_served_without_a_key_and_says_nothing(port: int, path: str) -> None:
    with Client(port) as client:
        status, body = client.request("GET", path, Authorization=None)
        assert status == 200
        assert len(body) > 1000
        assert b"one" not in body or path != "/"
        assert client.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in client.headers["Content-Security-Policy"]
        assert "default-src 'none'" in client.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("accepted", "language", "word"),
    [
        (None, "en", ">Screen<"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans-CN", ">屏幕<"),
        ("zh", "zh-Hans-CN", ">屏幕<"),
        ("fr, zh-Hans;q=0.2", "zh-Hans-CN", ">屏幕<"),
        ("en-GB,en;q=0.9,zh;q=0.1", "en", ">Screen<"),
        ("zh-TW, fr", "en", ">Screen<"),
        ("zh;q=0, *", "en", ">Screen<"),
        (";;q=1, zh;q=much,,", "en", ">Screen<"),
        ("x" * 10000, "en", ">Screen<"),
    ],
)
def test_the_page_speaks_the_language_that_its_reader_prefers(
    port: int, accepted: str | None, language: str, word: str
) -> None:
    with Client(port) as client:
        _, body = client.request("GET", "/", None, Accept_Language=accepted)
    assert f'<html lang="{language}">' in body.decode()
    assert word in body.decode()
    assert body.count(b"<") == (STATIC / "index.html").read_bytes().count(b"<")
    assert b'id="words"' in body


def test_complaints_are_in_the_readers_language_too(port: int) -> None:
    with Client(port) as client:
        status, body = client.request("GET", "/machine", None, Authorization="Bearer wrong", Accept_Language="zh-CN")
    assert (status, json.loads(body)) == (403, {"error": "钥匙不是这个服务器的；请打开 inn view 最近打印的地址"})
    with machine(), Client(port) as client:
        _, body = client.request("GET", "/machine", None, Accept_Language="zh-CN")
    assert "客户机" in json.loads(body)["console"]["advice"]


def test_who_prefers_nothing_gets_the_locales_language(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preferred, "chosen", lambda: preferred.in_folder("zh_CN"))
    for accepted in (None, "fr", "*"):
        with Client(port) as client:
            _, body = client.request("GET", "/", None, Accept_Language=accepted)
        assert '<html lang="zh-Hans-CN">' in body.decode()


def test_the_state_of_a_machine_is_told(port: int) -> None:
    def told() -> object:
        with Client(port) as client:
            status, body = client.request("GET", "/machine")
            assert status == 200
            return json.loads(body)

    nothing = {"reachable": False, "advice": None}
    assert told() == {"name": "one", "running": False, "screen": False, "console": nothing}
    with machine() as one:
        state = told()
        assert isinstance(state, dict)
        assert (state["running"], state["screen"], state["console"]["reachable"]) == (True, False, True)
        assert "console=ttyS0" in state["console"]["advice"]
        one.uart.write(IER, 1, 1)
        assert told() == {**state, "console": {"reachable": True, "advice": None}}
    with machine(ConsoleKind.NONE, video=VideoModel.VGA):
        state = told()
        assert isinstance(state, dict)
        assert state["screen"] is True
        assert "The serial console is none of its inn run" in state["console"]["advice"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": None}, 403),
        ({"Authorization": "Bearer wrong"}, 403),
        ({"Authorization": f"Bearer {KEY}x"}, 403),
        ({"Authorization": "Bearer ключ"}, 403),
        ({"Authorization": f"Basic {KEY}"}, 403),
        ({"Authorization": None, "Cookie": f"key={KEY}"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "none"}, 403),
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:PORT"}, 421),
        ({"Host": "127.0.0.1.evil.example:PORT"}, 421),
        ({"Host": "127.0.0.1:1"}, 421),
        ({"Host": "10.0.0.1:PORT"}, 421),
        ({"Host": None}, 421),
        ({"Host": "localhost:PORT"}, 200),
        ({"Origin": "http://127.0.0.1:PORT", "Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_only_the_page_with_its_key_is_answered(port: int, headers: dict[str, str | None], status: int) -> None:
    given = {name: value and value.replace("PORT", str(port)) for name, value in headers.items()}
    with Client(port) as client:
        assert client.request("GET", "/machine", None, **given)[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec_WebSocket_Protocol": "binary"}, 403),
        ({"Sec_WebSocket_Protocol": "binary, key.wrong"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "https://127.0.0.1:PORT"}, 403),
        ({"Host": "evil.example:PORT"}, 421),
        ({"Upgrade": None}, 426),
        ({"Sec_WebSocket_Key": "short"}, 426),
        ({"Sec_WebSocket_Version": "8"}, 426),
    ],
)
def test_only_the_pages_websockets_are_let_in(port: int, headers: dict[str, str | None], status: int) -> None:
    given = {name: value and value.replace("PORT", str(port)) for name, value in headers.items()}
    with machine(), Client(port) as client:
        assert client.upgrade("/console", **given) == status


def test_the_console_goes_both_ways(port: int) -> None:
    with machine() as one, Client(port) as client:
        one.says(b"welcome\r\n")
        assert client.upgrade("/console") == 101
        assert client.headers["Sec-WebSocket-Protocol"] == "binary"
        client.hears(b"welcome\r\n")
        client.send(BINARY, b"ro", final=False)
        client.send(PING, b"still there?")
        assert client.frame() == (PONG, b"still there?")
        client.send(CONTINUATION, b"ot", final=False)
        client.send(CONTINUATION, b"", final=False)
        client.send(CONTINUATION, b"\r")
        client.send(BINARY, b"x" * 70_000)
        wait_for(lambda: len(one.typed) == 70_005)
        assert one.typed.startswith(b"root\rxxx")
        client.send(CLOSE, (1000).to_bytes(2))
        assert client.frame() == (CLOSE, (1000).to_bytes(2))
        assert client.has_ended()


def test_the_page_is_told_when_the_machine_ends(port: int) -> None:
    with Client(port) as client:
        with machine():
            assert client.upgrade("/console") == 101
        assert client.frame() == (CLOSE, (1001).to_bytes(2))
        assert client.has_ended()
    with Client(port) as client:
        assert client.upgrade("/console") == 503
    with machine() as one, Client(port) as client:
        one.says(b"again")
        assert client.upgrade("/console") == 101
        client.hears(b"again")


def test_a_pseudo_terminal_goes_both_ways(port: int) -> None:
    with machine(ConsoleKind.PTY) as one, Client(port) as client:
        assert client.upgrade("/console") == 101
        client.send(BINARY, b"typed")
        wait_for(lambda: one.typed == b"typed")
        one.says(b"said\r\n")
        client.hears(b"said\r\n")


def test_the_screen_speaks_rfb_without_a_password(port: int) -> None:
    with machine(video=VideoModel.VGA), Client(port) as client:
        assert client.upgrade("/screen") == 101
        client.hears(b"RFB 003.008\n")
        client.send(BINARY, b"RFB 003.008\n")
        client.hears(b"\x01\x01")


def test_a_machine_without_a_screen_says_so(port: int) -> None:
    with machine(), Client(port) as client:
        assert client.upgrade("/screen") == 503


HOSTILE: list[Callable[[], bytes]] = [
    lambda: frame(BINARY, b"x", masked=False),
    lambda: frame(BINARY | 0x40, b"x"),
    lambda: frame(TEXT, b"x"),
    lambda: frame(CONTINUATION, b"x"),
    lambda: frame(BINARY, b"x", final=False) + frame(BINARY, b"y"),
    lambda: frame(PING, b"x" * 126),
    lambda: frame(PING, b"x", final=False),
    lambda: frame(0x3, b"x"),
    lambda: frame(0xB, b"x"),
]


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_frames_end_the_conversation(port: int, said: Callable[[], bytes]) -> None:
    with machine() as one, Client(port) as client:
        assert client.upgrade("/console") == 101
        client.socket.sendall(said())
        operation, reason = client.frame()
        assert operation == CLOSE
        assert int.from_bytes(reason) in (1002, 1003)
        assert client.has_ended()
        with Client(port) as other:
            assert other.upgrade("/console") == 101
        assert bytes(one.typed) in (b"", b"x")


def test_a_frame_of_many_gigabytes_is_passed_on_as_it_comes(port: int) -> None:
    with machine() as one, Client(port) as client:
        assert client.upgrade("/console") == 101
        client.send(BINARY, b"begin", size=1 << 40)
        wait_for(lambda: one.typed == b"begin")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"GET http://evil.example/ HTTP/1.1\r\n\r\n", 400),
        (b"\xff\xfe \x00\r\n\r\n", 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 404),
        (b"DELETE / HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", 404),
    ],
)
def test_requests_that_are_none_are_answered(port: int, said: bytes, status: int) -> None:
    with Client(port) as client:
        client.socket.sendall(said.replace(b"PORT", str(port).encode()))
        assert client.response()[0] == status


def test_endless_headers_are_cut_short(port: int) -> None:
    with Client(port) as client:
        client.socket.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 4000)
        assert client.has_ended()


def test_text_is_typed(port: int) -> None:
    with machine(video=VideoModel.VGA) as one:
        with Client(port) as client:
            assert client.request("POST", "/type", b'{"text": "Hi"}') == (200, b'{"typed": 2}')
        assert len(one.sink.keys) == 6
        for body, words in [
            (b'{"text": "\xe6\x97\xa5"}', "US keyboard"),
            (b'{"text": 5}', "must have a text"),
            (b"[]", "must have a text"),
            (b"[" * 100_000, "no JSON"),
            (json.dumps({"text": "x" * (TEXT_LIMIT + 1)}).encode(), f"at most {TEXT_LIMIT}"),
        ]:
            with Client(port) as client:
                status, said = client.request("POST", "/type", body)
                assert status in (400, 503)
                assert words in json.loads(said)["error"]
        assert len(one.sink.keys) == 6


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Length": None}, 411),
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": "99999999"}, 413),
        ({"Authorization": "Bearer wrong"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
    ],
)
def test_bodies_are_checked_before_they_are_read(port: int, headers: dict[str, str | None], status: int) -> None:
    with Client(port) as client:
        assert client.request("POST", "/type", b"{}", **headers)[0] == status


def test_visitors_are_limited(port: int) -> None:
    clients = [Client(port) for _ in range(VISITORS_LIMIT)]
    with Client(port) as late:
        late.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert late.has_ended()
    for client in clients:
        client.__exit__()
    wait_for(lambda: is_served(port))


def is_served(port: int) -> bool:
    with Client(port) as client:
        try:
            return client.request("GET", "/")[0] == 200
        except (IndexError, ConnectionResetError, BrokenPipeError):
            return False


def test_beyond_this_host_addresses_are_good_names_and_others_are_not() -> None:
    with serving("0.0.0.0") as port:
        for host, status in [("10.1.2.3", 200), (socket.gethostname(), 200), ("evil.example", 421), ("", 421)]:
            with Client(port) as client:
                assert client.request("GET", "/machine", Host=f"{host}:{port}")[0] == status
        with Client(port) as client:
            assert client.request("GET", "/machine", Authorization=None)[0] == 403


def test_a_terminal_that_hangs_up_ends() -> None:
    from innkeeper.display.rfb.channel import Gone
    from innkeeper.view.bridge import TerminalChannel

    main_end, terminal = pty.openpty()
    tty.setraw(terminal)

    async def work() -> bytes:
        channel = TerminalChannel(terminal)
        os.write(main_end, b"said")
        said = await channel.read_some(100)
        channel.write(b"x" * 10)
        await channel.drain()
        os.close(main_end)
        with pytest.raises(Gone):
            await channel.read_some(100)
        channel.close()
        return said

    assert asyncio.run(asyncio.wait_for(work(), 20)) == b"said"
