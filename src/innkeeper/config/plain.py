"""A device's configuration as JSON-able values, and back: what one process tells another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from innkeeper.errors import ConfigError

Config = TypeVar("Config")


def to_plain(value: object) -> Any:
    """Fields by name; those that are as they are by default are left out.

    >>> from innkeeper.config.network import NetworkConfig
    >>> to_plain(NetworkConfig(mac="52:54:00:00:00:01"))
    {'mac': '52:54:00:00:00:01'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        given = {field.name: getattr(value, field.name) for field in fields(value)}
        defaults = {field.name: field.default for field in fields(value)}
        return {name: to_plain(each) for name, each in given.items() if each != defaults[name]}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [to_plain(each) for each in value]
    return value


def from_plain(kind: type[Config], value: object) -> Config:
    """Raises `ConfigError` for what is no such configuration.

    >>> from innkeeper.config.disk import DiskConfig
    >>> from_plain(DiskConfig, {"path": "a.img", "bus": "virtio"}).path
    PosixPath('a.img')
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{kind.__name__} is {value!r}; it must be an object")
    hints = get_type_hints(kind)
    unknown = value.keys() - hints.keys()
    if unknown:
        raise ConfigError(f"{kind.__name__} has no {', '.join(sorted(map(str, unknown)))}")
    try:
        return kind(**{name: _read(hints[name], each) for name, each in value.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind.__name__} cannot be made of {dict(value)!r}: {error}") from error


def _read(hint: Any, value: object) -> Any:
    if isinstance(hint, UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        return None if value is None else _read(kinds[0], value)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise TypeError(f"{value!r} is no list")
        members = get_args(hint)
        each = [members[0]] * len(value) if members[1:] == (...,) else list(members)
        return tuple(_read(kind, one) for kind, one in zip(each, value, strict=True))
    if is_dataclass(hint):
        return from_plain(hint, value)  # type: ignore[arg-type] # a class, as it is a hint
    if issubclass(hint, Enum | Path):
        if not isinstance(value, str):
            raise TypeError(f"{value!r} is no text")
        return hint(value)
    wanted = int | float if hint is float else hint
    if not isinstance(value, wanted) or (isinstance(value, bool) and hint is not bool):
        raise TypeError(f"{value!r} is no {hint.__name__}")
    return value
