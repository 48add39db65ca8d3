"""Scan codes: set 1 is set 2 translated, for every key."""

import pytest

from innkeeper.devices.ps2.scancodes import SET_1, SET_2, Translator, scan_codes


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize("alt", [True, False])
def test_set_1_is_set_2_translated(down: bool, alt: bool) -> None:
    for key in range(256):
        translator = Translator()
        translated = [translator.translate(byte) for byte in scan_codes(key, SET_2, down=down, alt=alt)]
        assert bytes(byte for byte in translated if byte is not None) == scan_codes(key, SET_1, down=down, alt=alt)


@pytest.mark.parametrize(
    ("key", "set_1", "set_2"),
    [
        (1, "01", "76"),  # Esc
        (30, "1e", "1c"),  # A
        (65, "41", "83"),  # F7
        (88, "58", "07"),  # F12
        (86, "56", "61"),  # the key beside left Shift
        (97, "e01d", "e014"),  # right Ctrl
        (111, "e053", "e071"),  # Delete
        (125, "e05b", "e01f"),  # left Windows
        (119, "e11d45e19dc5", "e11477e1f014f077"),  # Pause
        (99, "e02ae037", "e012e07c"),  # Print Screen
        (240, "", ""),
    ],
)
def test_keys_have_the_codes_of_the_specification(key: int, set_1: str, set_2: str) -> None:
    assert scan_codes(key, SET_1, down=True).hex() == set_1
    assert scan_codes(key, SET_2, down=True).hex() == set_2
