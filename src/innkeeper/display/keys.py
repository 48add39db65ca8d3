"""Keys by number and name: Linux's `KEY_` codes, and what people call keys in a command.

Spec: Linux input-event-codes.h for the codes; virsh's send-key (codeset linux) and QEMU's sendkey for the names that
`inn send-key` takes. Text is typed as on a US keyboard. Left out: other layouts.
"""

from innkeeper.errors import ConfigError

# The codes from 1 on, in order; "-" is nobody's.
_IN_ORDER = (
    "ESC 1 2 3 4 5 6 7 8 9 0 MINUS EQUAL BACKSPACE TAB Q W E R T Y U I O P LEFTBRACE RIGHTBRACE ENTER LEFTCTRL A S D F "
    "G H J K L SEMICOLON APOSTROPHE GRAVE LEFTSHIFT BACKSLASH Z X C V B N M COMMA DOT SLASH RIGHTSHIFT KPASTERISK "
    "LEFTALT SPACE CAPSLOCK F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NUMLOCK SCROLLLOCK KP7 KP8 KP9 KPMINUS KP4 KP5 KP6 KPPLUS "
    "KP1 KP2 KP3 KP0 KPDOT - ZENKAKUHANKAKU 102ND F11 F12 RO KATAKANA HIRAGANA HENKAN KATAKANAHIRAGANA MUHENKAN "
    "KPJPCOMMA KPENTER RIGHTCTRL KPSLASH SYSRQ RIGHTALT LINEFEED HOME UP PAGEUP LEFT RIGHT END DOWN PAGEDOWN INSERT "
    "DELETE MACRO MUTE VOLUMEDOWN VOLUMEUP POWER KPEQUAL KPPLUSMINUS PAUSE SCALE KPCOMMA HANGEUL HANJA YEN LEFTMETA "
    "RIGHTMETA COMPOSE STOP AGAIN PROPS UNDO FRONT COPY OPEN PASTE FIND CUT HELP MENU CALC SETUP SLEEP WAKEUP FILE "
    "SENDFILE DELETEFILE XFER PROG1 PROG2 WWW MSDOS COFFEE ROTATE_DISPLAY CYCLEWINDOWS MAIL BOOKMARKS COMPUTER BACK "
    "FORWARD CLOSECD EJECTCD EJECTCLOSECD NEXTSONG PLAYPAUSE PREVIOUSSONG STOPCD"
)
KEYS = {name: code for code, name in enumerate(_IN_ORDER.split(), 1) if name != "-"}
"""Code by name, without `KEY_`."""
NAMES = {code: name for name, code in KEYS.items()}

SHIFT, CAPS_LOCK = KEYS["LEFTSHIFT"], KEYS["CAPSLOCK"]
SHIFTS = frozenset({KEYS["LEFTSHIFT"], KEYS["RIGHTSHIFT"]})

_ALIASES = {
    "ctrl": "LEFTCTRL", "control": "LEFTCTRL", "ctrl_r": "RIGHTCTRL",
    "alt": "LEFTALT", "alt_r": "RIGHTALT", "altgr": "RIGHTALT",
    "shift": "LEFTSHIFT", "shift_r": "RIGHTSHIFT",
    "meta": "LEFTMETA", "meta_l": "LEFTMETA", "meta_r": "RIGHTMETA", "super": "LEFTMETA", "win": "LEFTMETA",
    "return": "ENTER", "ret": "ENTER", "kp_enter": "KPENTER", "escape": "ESC", "del": "DELETE", "ins": "INSERT",
    "spc": "SPACE", "bs": "BACKSPACE", "pgup": "PAGEUP", "pgdn": "PAGEDOWN", "print": "SYSRQ", "printscreen": "SYSRQ",
    "caps_lock": "CAPSLOCK", "num_lock": "NUMLOCK", "scroll_lock": "SCROLLLOCK",
    "bracket_left": "LEFTBRACE", "bracket_right": "RIGHTBRACE", "grave_accent": "GRAVE",
    "less": "102ND",
}  # fmt: skip

_PLAIN = r"1234567890-=qwertyuiop[]asdfghjkl;'`\zxcvbnm,./ " + "\n\t\b\x1b"
_SHIFTED = r'!@#$%^&*()_+QWERTYUIOP{}ASDFGHJKL:"~|ZXCVBNM<>?'
_PLACES = (
    "1 2 3 4 5 6 7 8 9 0 MINUS EQUAL Q W E R T Y U I O P LEFTBRACE RIGHTBRACE A S D F G H J K L SEMICOLON APOSTROPHE "
    "GRAVE BACKSLASH Z X C V B N M COMMA DOT SLASH SPACE ENTER TAB BACKSPACE ESC"
)
CHARACTERS = {
    **{character: (KEYS[place], False) for character, place in zip(_PLAIN, _PLACES.split(), strict=True)},
    **{character: (KEYS[place], True) for character, place in zip(_SHIFTED, _PLACES.split(), strict=False)},
}
"""What to press on a US keyboard for a character: the key, and whether with Shift."""

Stroke = tuple[int, bool]
"""A key's code, and whether it goes down."""

LARGEST_CODE = 0xFF


def key_code(name: str) -> int:
    """The code of a key that a person names: `KEY_ENTER`, `enter`, `ret`, `f2`, `a`, `0x1c`.

    >>> key_code("KEY_ENTER"), key_code("ret"), key_code("ctrl"), key_code("28"), key_code("1"), key_code("0x1c")
    (28, 28, 29, 28, 2, 28)
    """
    plain = name.upper().removeprefix("KEY_")
    code = KEYS.get(_ALIASES.get(name.lower(), plain))
    if code is None and len(name) == 1 and name in CHARACTERS:
        code = CHARACTERS[name][0]
    if code is None and name.isascii() and name.lower().removeprefix("0x").isalnum():
        code = _number(name)
    if code is None:
        from difflib import get_close_matches

        like = get_close_matches(name.lower(), [*_ALIASES, *map(str.lower, KEYS)], 1)
        advice = f"did you mean {like[0]!r}?" if like else "name it as KEY_ENTER, f2, a or 0x1c"
        raise ConfigError(f"{name!r} is no key; {advice}")
    return code


def _number(text: str) -> int | None:
    try:
        code = int(text, 0)
    except ValueError:
        return None
    return code if 1 <= code <= LARGEST_CODE else None


def chord(text: str) -> list[int]:
    """The keys of a chord, in the order in which they go down.

    >>> chord("ctrl-alt-f2")
    [29, 56, 60]
    >>> chord("ctrl--"), chord("-"), chord("KEY_LEFTALT+KEY_TAB")
    ([29, 12], [12], [56, 15])
    """
    parts = text.replace("+", "-").split("-") if len(text) > 1 else [text]
    if len(parts) > 1 and parts[-2:] == ["", ""]:  # the last key is the minus itself
        parts[-2:] = ["-"]
    if "" in parts:
        raise ConfigError(f"{text!r} is no chord; join keys as in ctrl-alt-f2")
    return [key_code(part) for part in parts]


def press(codes: list[int]) -> list[Stroke]:
    """Down in order, up in the reverse order.

    >>> press([29, 46])
    [(29, True), (46, True), (46, False), (29, False)]
    """
    return [(code, True) for code in codes] + [(code, False) for code in reversed(codes)]


def typing(text: str) -> list[Stroke]:
    """The strokes that type `text`. Raises `ConfigError` for a character that a US keyboard lacks.

    >>> typing("aA")
    [(30, True), (30, False), (42, True), (30, True), (30, False), (42, False)]
    """
    strokes: list[Stroke] = []
    for character in text.replace("\r\n", "\n").replace("\r", "\n"):
        if character not in CHARACTERS:
            raise ConfigError(f"text holds {character!r}, which a US keyboard does not have; use inn send-key for keys")
        code, shifted = CHARACTERS[character]
        strokes += press([SHIFT, code] if shifted else [code])
    return strokes
