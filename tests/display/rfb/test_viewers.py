"""Stock viewers show and drive a screen: vncdotool, and noVNC in a browser that nobody sees."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import pytest

from innkeeper.display.keys import KEYS, press, typing
from tests.display.rfb.conftest import Bench, MakeBench, wait_for

NOVNC = Path("/usr/share/novnc")
CHROMIUM = shutil.which("chromium")
WIDTH, HEIGHT = 320, 200
PAGE = """<!DOCTYPE html><div id="screen"></div><script type="module">
import RFB from "/core/rfb.js";
const tell = (what, body) => fetch("/" + what, {method: "POST", body});
const rfb = new RFB(document.getElementById("screen"), "ws://ADDRESS/", {credentials: {password: "secret"}});
rfb.addEventListener("disconnect", event => tell("disconnected", String(event.detail.clean)));
rfb.addEventListener("clipboard", event => tell("clipboard", event.detail.text));
rfb.addEventListener("desktopname", event => tell("name", event.detail.name));
rfb.addEventListener("connect", () => {
  const canvas = document.querySelector("canvas");
  const look = async () => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    if (await (await tell("picture", pixels)).text() !== "enough") return setTimeout(look, 100);
    rfb.clipboardPasteFrom("日本");
    for (const down of [true, false]) rfb.sendKey(0x61, "KeyQ", down);  // an a, where a US keyboard has its q
  };
  look();
});
</script>"""


def picture() -> bytes:
    """Blue, green, red, 0: so few colours that they are sent as they are to noVNC, which allows loss."""
    colours = ((x // 16 % 4, y // 16 % 4, (x + y) // 32 % 4) for y in range(HEIGHT) for x in range(WIDTH))
    return b"".join(bytes((80 * blue + 3, 80 * green + 2, 80 * red + 1, 0)) for blue, green, red in colours)


@pytest.fixture
def shown(make_bench: MakeBench) -> Bench:
    bench = make_bench("vnc,password=secret")
    bench.screen.resize(WIDTH, HEIGHT)
    bench.screen.draw(0, 0, WIDTH, HEIGHT, picture())
    return bench


def test_vncdotool_shows_and_drives_the_screen(shown: Bench, tmp_path: Path) -> None:
    pytest.importorskip("vncdotool")
    from PIL import Image

    address = shown.server.address.replace(":", "::")
    shot = tmp_path / "shot.png"
    subprocess.run(
        [Path(sys.executable).parent / "vncdo", "-s", address, "-p", "secret", "capture", shot, "type", "Hi!",
         "key", "ctrl-alt-del", "mousemove", "10", "20", "click", "1"],
        check=True, timeout=60, capture_output=True,
    )  # fmt: skip

    assert Image.open(shot).convert("RGBX").tobytes("raw", "BGRX")[::4] == picture()[::4]
    assert Image.open(shot).convert("RGB").tobytes("raw", "BGR")[1::3] == picture()[1::4]
    chord = press([KEYS["LEFTCTRL"], KEYS["LEFTALT"], KEYS["DELETE"]])
    wait_for(lambda: len(shown.sink.pointers) >= 3)
    assert shown.sink.keys[: len(typing("Hi!"))] == typing("Hi!")
    assert sorted(shown.sink.keys[len(typing("Hi!")) :]) == sorted(chord)
    assert shown.sink.pointers[:3] == [(10, 20, WIDTH, HEIGHT, buttons) for buttons in (0, 1, 0)]


class Pages(SimpleHTTPRequestHandler):
    """noVNC's own files, the page that uses them, and what that page tells."""

    def __init__(self, page: str, told: "Queue[tuple[str, bytes]]", *arguments: object) -> None:
        self._page, self._told = page, told
        super().__init__(*arguments, directory=str(NOVNC))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path != "/page":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self._page.encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._told.put((self.path[1:], body))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"enough" if body == rgba() else b"more")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
        """To nobody."""


def rgba() -> bytes:
    pixels = bytearray(4 * WIDTH * HEIGHT)
    bgrx = picture()
    pixels[0::4], pixels[1::4], pixels[2::4] = bgrx[2::4], bgrx[1::4], bgrx[0::4]
    pixels[3::4] = b"\xff" * (WIDTH * HEIGHT)
    return bytes(pixels)


@contextmanager
def browsing(page: str, home: Path) -> "Iterator[Queue[tuple[str, bytes]]]":
    """A browser without a window that has opened the page; gives what the page tells."""
    assert CHROMIUM is not None
    told: Queue[tuple[str, bytes]] = Queue()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, page, told)) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={home}",
             f"http://127.0.0.1:{pages.server_address[1]}/page"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"HOME": str(home)},
            start_new_session=True,
        )  # fmt: skip
        try:
            yield told
        finally:
            os.killpg(browser.pid, 9)
            browser.wait()
            pages.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None or not NOVNC.is_dir(), reason="needs the packages chromium and novnc")
def test_novnc_in_a_browser_shows_and_drives_the_screen(shown: Bench, tmp_path: Path) -> None:
    heard: dict[str, bytes] = {}
    with browsing(PAGE.replace("ADDRESS", shown.server.address), tmp_path) as told:

        def hear() -> dict[str, bytes]:
            while not told.empty():
                heard.update([told.get()])
            return heard

        wait_for(lambda: hear().get("picture") == rgba(), 60)
        shown.server.offer_text("grüß Gott ☺")
        wait_for(lambda: "clipboard" in hear(), 20)
        wait_for(lambda: bool(shown.texts) and len(shown.sink.keys) >= 2)

    assert heard["name"] == b"bench"
    assert heard["clipboard"].decode() == "grüß Gott ☺"
    assert shown.texts == ["日本"]
    assert shown.sink.keys == press([KEYS["Q"]]), "by its place, not by its letter"
    assert "disconnected" not in heard
