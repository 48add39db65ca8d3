"""What a request to a machine says, checked: each raises `BadRequest` for a value that is not of its kind."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from innkeeper.machine.control import BadRequest

Asked = Mapping[str, Any]


def text(asked: Asked, key: str) -> str:
    value = asked.get(key)
    if not isinstance(value, str) or "\0" in value:
        raise BadRequest(f"{key} is {value!r}; it must be a text")
    return value


def maybe(asked: Asked, key: str) -> str | None:
    """A text, or nothing."""
    return None if asked.get(key) is None else text(asked, key)


def texts(asked: Asked, key: str) -> dict[str, str]:
    """By names; at least one."""
    found = asked.get(key)
    if not isinstance(found, dict) or not found or not all(isinstance(value, str) for value in found.values()):
        raise BadRequest(f"{key} is {found!r}; it must be texts by names")
    return found


def number(asked: Asked, key: str) -> int:
    value = asked.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"{key} is {value!r}; it must be a whole number")
    return value


def count(asked: Asked, key: str) -> int:
    """0 if it is not said."""
    value = asked.get(key, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BadRequest(f"{key} is {value!r}; it must be a whole number, and not negative")
    return value


def absolute(asked: Asked, key: str) -> Path:
    value = asked.get(key)
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise BadRequest(f"{key} must be an absolute path")
    return Path(value)
