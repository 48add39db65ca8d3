"""TOML ⇄ definitions: a machine's configuration under its own names, one table for each device.

    name = "web"

    [machine]
    memory_mib = 2048

    [[machine.disks]]
    path = "/srv/web.qcow2"

Spec: TOML 1.0. Keys are the fields of `innkeeper.config`'s classes; what has its default is left out.
"""

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

from innkeeper.config import ConsoleConfig, MachineConfig
from innkeeper.config.console import ConsoleKind
from innkeeper.errors import ConfigError
from innkeeper.manager.definition import Definition
from innkeeper.manager.domain_xml import read_xml, write_xml

OWN = ("name", "uuid", "console", "machine")  # given by the definition around it, or by the manager
CONSOLE = ConsoleConfig(kind=ConsoleKind.NONE)  # the manager gives each machine its own


def read_toml(text: str) -> Definition:
    """Raises `ConfigError` for a document that is none, or that asks for what cannot be."""
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"the definition is no TOML: {error}") from error
    name, machine, identity = table.pop("name", None), table.pop("machine", None), table.pop("uuid", None)
    if not isinstance(name, str):
        raise ConfigError('the definition has no name; give it one, as in name = "web"')
    if not isinstance(machine, dict):
        raise ConfigError("the definition has no table [machine]; give it one")
    given: dict[str, object] = {"name": name}
    if identity is not None:
        given["uuid"] = read_value(UUID, identity, "uuid")
    given["machine"] = read_table(MachineConfig, machine, "machine", {"name": name, "console": CONSOLE})
    definition: Definition = read_table(Definition, table, "the definition", given)
    return definition


def read_table(kind: type, table: Mapping[str, object], where: str, given: Mapping[str, object] | None = None) -> Any:
    """An object of a configuration's class. `given` are fields that no document has."""
    hints, fields = typing.get_type_hints(kind), dataclasses.fields(kind)
    known = [field.name for field in fields if given is None or field.name not in OWN]
    values = dict(given or {})
    for key, value in table.items():
        if key not in known:
            raise ConfigError(f"{where} has an unknown key {key!r}; it knows {', '.join(known)}")
        values[key] = read_value(hints[key], value, f"{where}.{key}")
    for field in fields:
        if field.name not in values and field.default is field.default_factory:
            raise ConfigError(f"{where} has no {field.name}; give it one")
    return kind(**values)


def read_value(hint: Any, value: object, where: str) -> Any:
    """A field's value, by the field's type."""
    if isinstance(hint, types.UnionType):  # `X | None`: what is None is left out
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    if typing.get_origin(hint) is tuple:
        return read_list(hint, value, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
        return read_table(hint, value, where)
    if hint is float and type(value) is int:
        return float(value)
    if hint in (bool, int, float, str) and type(value) is hint:
        return value
    if isinstance(value, str) and isinstance(hint, type) and issubclass(hint, Enum | Path | UUID):
        try:
            return hint(value)
        except ValueError:
            limits = ", ".join(str(one.value) for one in hint) if issubclass(hint, Enum) else "hexadecimal digits"
            raise ConfigError(f"{where} is {value!r}; it must be of {limits}") from None
    raise ConfigError(f"{where} is {value!r}; it must be {article(hint)}")


def read_list(hint: Any, value: object, where: str) -> tuple[Any, ...]:
    parts = typing.get_args(hint)
    if not isinstance(value, list):
        raise ConfigError(f"{where} is {value!r}; it must be a list")
    hints = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
    if len(hints) != len(value):
        raise ConfigError(f"{where} has {len(value)} parts; it must have {len(hints)}")
    return tuple(
        read_value(each, one, f"{where}[{at}]") for at, (each, one) in enumerate(zip(hints, value, strict=True))
    )


def article(hint: Any) -> str:
    if dataclasses.is_dataclass(hint):
        return "a table"
    return {bool: "true or false", int: "a whole number", float: "a number"}.get(hint, "a string")


# ---- writing ------------------------------------------------------------------------------------


def write_toml(definition: Definition) -> str:
    """Everything that is not as it would be by itself.

    >>> print(write_toml(Definition(name="web", uuid=UUID(int=1), machine=MachineConfig(vcpus=2))), end="")
    name = "web"
    uuid = "00000000-0000-0000-0000-000000000001"
    <BLANKLINE>
    [machine]
    vcpus = 2
    """
    top = {"name": definition.name, "uuid": definition.uuid} | changed(definition)
    machine = changed(definition.machine)
    return "".join(f"{line}\n" for line in [*lines_of(top, ""), "", "[machine]", *lines_of(machine, "machine.")])


def changed(configuration: Any) -> dict[str, object]:
    """The fields that have not their default."""
    found = {}
    for field in dataclasses.fields(configuration):
        value = getattr(configuration, field.name)
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if value != default and not (isinstance(configuration, MachineConfig | Definition) and field.name in OWN):
            found[field.name] = value
    return found


def lines_of(table: Mapping[str, object], prefix: str) -> Iterator[str]:
    """Plain values first, then tables."""
    for key, value in table.items():
        if not is_table(value):
            yield f"{key} = {written(value)}"
    for key, value in table.items():
        if is_table(value):
            several = isinstance(value, tuple)
            for each in value if isinstance(value, tuple) else (value,):
                yield ""
                yield f"[[{prefix}{key}]]" if several else f"[{prefix}{key}]"
                yield from lines_of(changed(each), f"{prefix}{key}.")


def is_table(value: object) -> bool:
    """Whether it is of a configuration's class, or several of them."""
    return dataclasses.is_dataclass(value) or (
        isinstance(value, tuple) and bool(value) and dataclasses.is_dataclass(value[0])
    )


def written(value: object) -> str:
    """One line of TOML."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case tuple():
            return f"[{', '.join(written(one) for one in value)}]"
        case Enum():
            return written(value.value)
        case _:  # JSON's strings are TOML's, but for DEL
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def as_xml(definition: Definition) -> str:
    """The document that a definition is kept as. Raises `ConfigError` for what has no place in it yet."""
    xml = write_xml(definition)
    if lost := lost_in(definition.machine, read_xml(xml).machine):
        raise ConfigError(f"the definition has {min(lost)}, which only inn run can do so far; leave it out")
    return xml


def lost_in(machine: MachineConfig, kept: MachineConfig) -> set[str]:
    """What of it is not in what is kept, as lines of TOML."""
    return set(lines_of(changed(machine), "machine.")) - set(lines_of(changed(kept), "machine."))
