"""Names of keys, chords, typed text, keysyms and scan codes."""

import pytest

from innkeeper.display.keys import CHARACTERS, KEYS, chord, key_code, press, typing
from innkeeper.display.keysyms import key_of_keysym, key_of_scan_code
from innkeeper.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "code"),
    [("KEY_ENTER", 28), ("key_enter", 28), ("ret", 28), ("f12", 88), ("A", 30), ("ctrl", 29), ("102nd", 86)],
)
def test_a_key_has_the_names_that_people_know(name: str, code: int) -> None:
    assert key_code(name) == code


def test_the_table_agrees_with_linux() -> None:
    """A few from all over the list: a name left out would shift all behind it."""
    known = {"ESC": 1, "SPACE": 57, "KPDOT": 83, "102ND": 86, "F12": 88, "RIGHTCTRL": 97, "DELETE": 111, "COMPOSE": 127}

    assert {name: KEYS[name] for name in known} == known
    assert KEYS["STOPCD"] == 166


def test_a_chord_holds_its_keys_together() -> None:
    assert press(chord("ctrl-alt-delete")) == [
        (29, True), (56, True), (111, True), (111, False), (56, False), (29, False),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "ctrl-", "-a", "ctrl--alt", "nokey", "0x100", "300"])
def test_what_is_no_chord_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        chord(text)


def test_a_misspelt_key_is_answered_with_the_like() -> None:
    with pytest.raises(ConfigError, match="did you mean 'backspace'"):
        key_code("bakspace")


def test_every_printable_ascii_character_can_be_typed() -> None:
    assert set(map(chr, range(0x20, 0x7F))) <= CHARACTERS.keys()
    assert typing("\r\n") == typing("\n") == press([28])


def test_a_character_that_no_us_keyboard_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="é"):
        typing("café")


def test_keysyms_lead_to_the_same_keys_as_characters() -> None:
    for character, expected in CHARACTERS.items():
        if " " <= character <= "~":
            assert key_of_keysym(ord(character)) == expected
    assert key_of_keysym(0xFFC9) == (KEYS["F12"], None)
    assert key_of_keysym(0xFFB7) == (KEYS["KP7"], None)
    assert key_of_keysym(0x0100_0061) == key_of_keysym(0x61)
    assert key_of_keysym(0xFFFF_FFFF) is None


def test_scan_codes_lead_to_places() -> None:
    assert [key_of_scan_code(code) for code in (0x01, 0x58, 0x80 | 0x1C, 0x80 | 0x53)] == [1, 88, 96, 111]
    assert key_of_scan_code(0) is None
