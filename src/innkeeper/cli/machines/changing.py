"""What the verbs have in common that change a machine: what a change is for, virsh's operands, sizes, and XML of devices."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from innkeeper.cli import results
from innkeeper.cli.machines import common
from innkeeper.cli.parser import operand
from innkeeper.errors import ConfigError

if TYPE_CHECKING:
    from innkeeper.manager.hardware import Changed

FLAGS = ("live", "config", "current", "persistent")
KIB = 1024
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


def kept_one(flags: list[str]) -> bool:
    """Whether they mean the definition alone."""
    return "config" in flags and "live" not in flags


def size_of(text: str, what: str) -> int:
    """Bytes of a scaled number, whose unit is KiB if it has none."""
    from innkeeper.manager.storage.sizes import size

    return size(text, what, plain=KIB)


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


def tell(arguments: argparse.Namespace, changed: Changed, what: str, did: str) -> None:
    """`Interface detached successfully`, or that the guest was asked."""
    results.say(
        arguments,
        f"{what} {did} successfully"
        if changed["done"]
        else f"{what} {did.removesuffix('ed')} request sent successfully",
        changed,
    )


def interface_of(kind: str, source: str | None, **options: str | None) -> str:
    """Libvirt's XML of an interface. Options are mac, target, model, mtu and alias."""
    parts: list[tuple[str, Attributes | str]] = []
    if kind in ("bridge", "network") and source is not None:
        parts.append(("source", {kind: source}))
    if kind == "ethernet" and options.get("target") is None:
        options["target"] = source
    for name, attribute in (
        ("mac", "address"),
        ("target", "dev"),
        ("model", "type"),
        ("mtu", "size"),
        ("alias", "name"),
    ):
        if (value := options.get(name)) is not None:
            parts.append((name, {attribute: value}))
    return element("interface", {"type": kind}, *parts)


def kept_device(xml: str, find: Callable[[ET.Element], ET.Element]) -> str:
    """A device's XML, as a machine's document has it. `find` is one of those in `manager.changes`, which raise `ConfigError`."""
    device = find(ET.fromstring(xml))  # noqa: S314 - our own
    device.tail = None
    ET.indent(device)
    return ET.tostring(device, encoding="unicode")


def memory(parser: argparse.ArgumentParser) -> None:
    """For verbs about how much there is."""
    common.domain(parser)
    operand(parser, "size", "in KiB, or with a unit, as in 2G")
    flags(parser, persistent=False)
    results.as_json(parser)


def kib_of(arguments: argparse.Namespace) -> int:
    return size_of(arguments.size, "size") // KIB
