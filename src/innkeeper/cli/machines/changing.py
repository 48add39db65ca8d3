"""What the verbs have in common that change a machine: what a change is for, virsh's operands, sizes, and XML of devices."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from innkeeper.cli.machines import common
from innkeeper.cli.words import say
from innkeeper.errors import ConfigError

if TYPE_CHECKING:
    from innkeeper.manager.hardware import Changed

FLAGS = ("live", "config", "current", "persistent")
UNITS = {
    "": 1 << 10, "b": 1, "bytes": 1, "kb": 1000, "k": 1 << 10, "kib": 1 << 10, "mb": 1000**2, "m": 1 << 20, "mib": 1 << 20,
    "gb": 1000**3, "g": 1 << 30, "gib": 1 << 30, "tb": 1000**4, "t": 1 << 40, "tib": 1 << 40,
}  # fmt: skip
Attributes = dict[str, str]


def flags(parser: argparse.ArgumentParser, *, persistent: bool = True) -> None:
    """What a change is for; without any, the machine that runs, or else its definition."""
    parser.add_argument("--live", action="store_true", help="change the running machine")
    parser.add_argument("--config", action="store_true", help="change the definition, for the next start")
    parser.add_argument("--current", action="store_true", help="the running machine, or else the definition")
    if persistent:
        parser.add_argument("--persistent", action="store_true", help="the definition, and the machine if it runs")


def flags_of(arguments: argparse.Namespace) -> list[str]:
    return [flag for flag in FLAGS if getattr(arguments, flag, False)]


def operand(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """A word that can be given by its place or by its name, as virsh has them, before or behind options."""
    take_words_anywhere(parser)
    parser.add_argument(f"{name} word", nargs="?", metavar=name, help=text)
    parser.add_argument(f"--{name}", dest=f"{name} option", metavar="VALUE", help=argparse.SUPPRESS)


def take_words_anywhere(parser: argparse.ArgumentParser) -> None:
    """Argparse by itself gives all words up to an option their places, and is surprised by more behind it."""
    if "parse_known_args" in vars(parser):
        return
    plain, inside = parser.parse_known_args, [False]

    def parse(args: Any = None, namespace: Any = None) -> Any:
        if inside[0]:
            return plain(args, namespace)
        inside[0] = True
        try:
            return parser.parse_known_intermixed_args(args, namespace)
        finally:
            inside[0] = False

    parser.parse_known_args = parse  # type: ignore[method-assign] # of this one parser


def maybe(arguments: argparse.Namespace, name: str) -> str | None:
    """What was given. Raises `ConfigError` if it was given twice."""
    given = [value for kind in ("word", "option") if (value := getattr(arguments, f"{name} {kind}")) is not None]
    if len(given) > 1:
        raise ConfigError(f"{name} is given twice: {given[0]} and {given[1]}")
    return given[0] if given else None


def word(arguments: argparse.Namespace, name: str) -> str:
    value = maybe(arguments, name)
    if value is None:
        raise ConfigError(f"{name} is missing; give it, as in --{name} VALUE")
    return value


def size_of(text: str, what: str) -> int:
    """Bytes of a scaled number, whose unit is KiB if it has none.

    >>> size_of("1G", "the size"), size_of("2", "the size"), size_of("512b", "the size")
    (1073741824, 2048, 512)
    """
    found = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", text)
    if found is None or found[2].lower() not in UNITS:
        raise ConfigError(f"{what} is {text!r}; it must be a number, with a unit such as MiB if it is not KiB")
    return int(found[1]) * UNITS[found[2].lower()]


def count_of(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"{what} is {text!r}; it must be a whole number")
    return int(text)


def element(tag: str, attributes: Attributes, *parts: tuple[str, Attributes | str]) -> str:
    """A device's XML: children with attributes, or with text.

    >>> print(element("disk", {"type": "file"}, ("serial", "A1"), ("readonly", {})))
    <disk type="file">
      <serial>A1</serial>
      <readonly />
    </disk>
    """
    root = ET.Element(tag, attributes)
    for name, content in parts:
        child = ET.SubElement(root, name, content if isinstance(content, dict) else {})
        if isinstance(content, str):
            child.text = content
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")


def tell(changed: Changed, what: str, did: str) -> None:
    """`Interface detached successfully`, or that the guest was asked."""
    say(
        f"{what} {did} successfully\n"
        if changed["done"]
        else f"{what} {did.removesuffix('ed')} request sent successfully\n"
    )


def interface_of(
    kind: str, source: str | None, mac: str | None, model: str | None, target: str | None, mtu: str | None
) -> str:
    """Libvirt's XML of an interface."""
    parts: list[tuple[str, Attributes | str]] = []
    if mac is not None:
        parts.append(("mac", {"address": mac}))
    if kind in ("bridge", "network") and source is not None:
        parts.append(("source", {kind: source}))
    named = target or (source if kind == "ethernet" else None)
    if named is not None:
        parts.append(("target", {"dev": named}))
    if model is not None:
        parts.append(("model", {"type": model}))
    if mtu is not None:
        parts.append(("mtu", {"size": mtu}))
    return element("interface", {"type": kind}, *parts)


def domain_and_flags(parser: argparse.ArgumentParser) -> None:
    common.domain(parser)
    flags(parser)
