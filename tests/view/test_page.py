"""The page in a browser: the screen shows, keys reach the guest, the console speaks, and it all comes again with the machine."""

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.config import VideoModel
from innkeeper.config.console import ConsoleKind
from innkeeper.display.keys import KEYS, press, typing
from tests.display.rfb.conftest import wait_for
from tests.view.browser import CHROMIUM, Browser
from tests.view.client import KEY, serving
from tests.view.outside import Outside, machine

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs the package chromium")]

WIDTH, HEIGHT = 320, 200
RED = "document.querySelector('#screen canvas')?.getContext('2d').getImageData(5, 5, 1, 1).data.join()"
STATUS = "(document.querySelector('#status')?.textContent ?? '')"
LINES = """(() => { const rows = document.querySelectorAll('.xterm-rows > div');
return [...rows].map(row => row.textContent.trimEnd()).join('\\n'); })()"""


@pytest.fixture(autouse=True)
def folders(user: Path) -> Path:
    return user


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with serving() as port, Browser(f"http://127.0.0.1:{port}/#key={KEY}", tmp_path / "home") as browser:
        yield browser


def paint(one: Outside, colour: int) -> None:
    one.screen.resize(WIDTH, HEIGHT)
    one.screen.draw(0, 0, WIDTH, HEIGHT, struct.pack("<I", colour) * (WIDTH * HEIGHT))


def test_a_screen_shows_and_is_driven(browser: Browser) -> None:
    with machine(video=VideoModel.VGA) as one:
        paint(one, 0xFF0000)
        browser.wait_for(f"{RED} === '255,0,0,255'")
        browser.wait_for(f"{STATUS} === 'connected'")
        assert browser.evaluate("location.hash + document.title") == "one", "the key is out of sight"

        browser.press("KeyQ", "q", 81)
        wait_for(lambda: one.sink.keys == press([KEYS["Q"]]))
        browser.click("#ctrl-alt-del")
        wait_for(lambda: len(one.sink.keys) == 8)
        chord = press([KEYS["LEFTCTRL"], KEYS["LEFTALT"], KEYS["DELETE"]])
        assert sorted(one.sink.keys[2:]) == sorted(chord)
        browser.evaluate(
            "{const s = document.querySelector('#keys'); s.value = 'Ctrl-Alt-F2'; s.onchange({target: s});}"
        )
        wait_for(lambda: len(one.sink.keys) == 14)
        assert sorted(one.sink.keys[8:]) == sorted(press([KEYS["LEFTCTRL"], KEYS["LEFTALT"], KEYS["F2"]]))

        browser.click("#paste")
        browser.evaluate("document.querySelector('#text').value = '日本'")
        browser.click("#type")
        browser.wait_for("document.querySelector('#paste-error').textContent.includes('US keyboard')")
        browser.evaluate("document.querySelector('#text').value = 'Hi!\\n'")
        browser.click("#type")
        browser.wait_for("!document.querySelector('#paste-dialog').open")
        assert one.sink.keys[14:] == typing("Hi!\n")


def test_a_console_shows_and_all_comes_again_with_the_machine(browser: Browser) -> None:
    with machine(video=VideoModel.VGA) as one:
        one.says(b"Welcome to the guest\r\nlogin: \x1b[6n")
        browser.wait_for(f"{STATUS} === 'connected'")
        browser.click("#tab-console")
        browser.wait_for(f"{LINES}.includes('Welcome to the guest\\nlogin:')")
        browser.press("KeyR", "r", 82)
        wait_for(lambda: one.typed == b"r")
        one.says("ö☺\r\n".encode())
        browser.wait_for(f"{LINES}.includes('login: ö☺')")
        browser.wait_for("document.querySelector('#advice').textContent.includes('console=ttyS0')")
    browser.wait_for(f"{STATUS}.includes('does not run')")

    with machine(video=VideoModel.VGA) as one:
        paint(one, 0x0000FF)
        one.says(b"Welcome again\r\n")
        browser.wait_for(f"{LINES}.startsWith('Welcome again')")
        browser.click("#tab-screen")
        browser.wait_for(f"{RED} === '0,0,255,255'")
        browser.wait_for(f"{STATUS} === 'connected'")


def test_a_machine_without_a_screen_shows_its_console_alone(browser: Browser) -> None:
    with machine() as one:
        one.says(b"just words\r\n")
        browser.wait_for(f"{LINES}.startsWith('just words')")
        assert browser.evaluate("document.querySelector('#tab-screen').hidden") is True
        assert browser.evaluate("document.querySelector('#tools').hidden") is True


def test_a_console_that_is_elsewhere_says_where(browser: Browser) -> None:
    with machine(ConsoleKind.NONE, video=VideoModel.VGA):
        browser.wait_for(
            "!document.querySelector('#tab-screen').hidden && document.querySelector('#name').textContent === 'one'"
        )
        browser.click("#tab-console")
        browser.wait_for(f"{STATUS} === 'the console is elsewhere'")
        browser.wait_for("document.querySelector('#advice').textContent.includes('--console pty or unix:PATH')")


def test_without_its_key_the_page_says_what_to_do(tmp_path: Path) -> None:
    with serving() as port, machine(), Browser(f"http://127.0.0.1:{port}/", tmp_path / "home") as browser:
        browser.wait_for(f"{STATUS}.startsWith('this address lacks its key')")
    with serving() as port, machine(), Browser(f"http://127.0.0.1:{port}/#key=wrong", tmp_path / "other") as browser:
        browser.wait_for(f"{STATUS}.startsWith('the key is not this server')")


def test_reloading_keeps_the_key_and_its_end_is_said(tmp_path: Path) -> None:
    with machine() as one:
        one.says(b"words\r\n")
        with serving() as port:
            browser = Browser(f"http://127.0.0.1:{port}/#key={KEY}", tmp_path / "home")
            browser.wait_for(f"{LINES}.startsWith('words')")
            browser.evaluate("window.before = 1; location.reload()")
            browser.wait_for(f"window.before === undefined && {LINES}.startsWith('words')")
        with browser:
            browser.wait_for(f"{STATUS}.startsWith('inn view has ended')")
