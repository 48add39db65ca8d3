"""`key=value,key=value`: how virt-install, and therefore `inn run`, describes a device.

Commas part the pairs; quotes and backslashes keep one that belongs to a value, as in a shell. A first word
without `=` is the value of the device's most usual key.
"""

import shlex
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from innkeeper.errors import ConfigError

YES, NO = ("yes", "on", "true", "1"), ("no", "off", "false", "0")

Value = TypeVar("Value")
Choice = TypeVar("Choice", bound=Enum)


class KeyValues:
    """The pairs of one option. Take them one by one; `finish` complains about those that nobody took.

    >>> pairs = KeyValues("--disk", "disk.img,size=10,bus=virtio", first="path")
    >>> pairs.text("path"), pairs.whole("size", 1, 100), pairs.text("format")
    ('disk.img', 10, None)
    >>> pairs.finish()
    Traceback (most recent call last):
      ...
    innkeeper.errors.ConfigError: --disk has an unknown key 'bus'; it knows format, path and size
    """

    def __init__(self, option: str, text: str, *, first: str | None = None) -> None:
        self.option = option
        self._known: set[str] = set()
        self._pairs: dict[str, str] = {}
        for index, word in enumerate(self.words(text)):
            key, equals, value = word.partition("=")
            if not equals:
                if index or first is None:
                    raise ConfigError(f"{option} holds {word!r}, which is not of the form key=value")
                key, value = first, word
            if key in self._pairs:
                raise ConfigError(f"{option} gives {key} twice")
            self._pairs[key] = value

    def words(self, text: str) -> list[str]:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
        lexer.whitespace, lexer.whitespace_split, lexer.commenters = ",", True, ""
        try:
            return list(lexer)
        except ValueError as error:
            raise ConfigError(f"{self.option} is {text!r}: {str(error).lower()}") from error

    def text(self, key: str, default: str | None = None) -> str | None:
        return self._take(key, str, default)

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int | None:
        return self._take(key, lambda text: self._whole(key, text, low, high), default)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float | None:
        return self._take(key, lambda text: self._number(key, text, low, high), default)

    def flag(self, key: str, *, default: bool | None = None) -> bool | None:
        return self._take(key, lambda text: self._flag(key, text), default)

    def choice(self, key: str, kind: type[Choice], default: Choice | None = None) -> Choice | None:
        return self._take(key, lambda text: self._choice(key, text, kind), default)

    def finish(self) -> None:
        """Raises `ConfigError` if a key is left that nobody asked for."""
        for key in self._pairs:
            if key not in self._known:
                from difflib import get_close_matches

                *others, last = sorted(self._known)
                known = f"{', '.join(others)} and {last}" if others else last
                like = get_close_matches(key, self._known, 1)
                advice = f"did you mean {like[0]!r}?" if like else f"it knows {known}"
                raise ConfigError(f"{self.option} has an unknown key {key!r}; {advice}")

    # ---- values ---------------------------------------------------------------------------------

    def _take(self, key: str, read: Callable[[str], Value], default: Value | None) -> Value | None:
        self._known.add(key)
        text = self._pairs.get(key)
        return default if text is None else read(text)

    def _whole(self, key: str, text: str, low: int, high: int) -> int:
        if not (text.isascii() and text.removeprefix("-").isdigit() and low <= int(text) <= high):
            raise ConfigError(f"{self.option} has {key}={text}; it must be a whole number between {low} and {high}")
        return int(text)

    def _number(self, key: str, text: str, low: float, high: float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ConfigError(f"{self.option} has {key}={text}; it must be a number between {low:g} and {high:g}")
        return value

    def _flag(self, key: str, text: str) -> bool:
        if text not in YES + NO:
            raise ConfigError(f"{self.option} has {key}={text}; it must be yes or no")
        return text in YES

    def _choice(self, key: str, text: str, kind: type[Choice]) -> Choice:
        try:
            return kind(text)
        except ValueError:
            known = ", ".join(str(choice.value) for choice in kind)
            raise ConfigError(f"{self.option} has {key}={text}; it must be one of {known}") from None
