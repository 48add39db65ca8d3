"""Reading XML elements: every mistake is named by its place."""

from collections.abc import Iterator
from enum import Enum
from typing import TypeVar
from xml.etree import ElementTree as ET

from innkeeper.errors import ConfigError

Element = ET.Element
Choice = TypeVar("Choice", bound=Enum)

BYTES_LIMIT = 1 << 20
UNITS = {
    "b": 1, "bytes": 1, "KB": 1000, "k": 1 << 10, "KiB": 1 << 10, "MB": 1000**2, "M": 1 << 20, "MiB": 1 << 20,
    "GB": 1000**3, "G": 1 << 30, "GiB": 1 << 30, "TB": 1000**4, "T": 1 << 40, "TiB": 1 << 40,
}  # fmt: skip


def parse(text: str, what: str) -> Element:
    """The root element. Raises `ConfigError`; entities and document types are refused, as they can expand without end."""
    if len(text) > BYTES_LIMIT:
        raise ConfigError(f"{what} has {len(text)} characters; the limit is {BYTES_LIMIT}")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ConfigError(f"{what} has a document type; write it without")
    try:
        return ET.fromstring(text)  # noqa: S314 - what can blow up was refused above
    except ET.ParseError as error:
        raise ConfigError(f"{what} is no XML: {error}") from error


def text_of(parent: Element, path: str) -> str | None:
    """What an element says, without the spaces around it; None if it is missing or empty."""
    found = parent.findtext(path)
    return found.strip() or None if found is not None else None


def attribute(parent: Element, path: str, name: str) -> str | None:
    """An attribute of a child, or of the element itself for `.`."""
    found = parent if path == "." else parent.find(path)
    return found.get(name) if found is not None else None


def child(parent: Element, tag: str) -> Element:
    """The first with this tag, which is made if there is none."""
    found = parent.find(tag)
    return ET.SubElement(parent, tag) if found is None else found


def whole(text: str, place: str) -> int:
    """In any notation of Python's.

    >>> whole("0x10", "a slot")
    16
    """
    try:
        return int(text, 0)
    except ValueError:
        raise ConfigError(f"{place} is {text!r}; it must be a whole number") from None


def memory_bytes(element: Element) -> int:
    """`<memory unit="MiB">512</memory>`; without a unit it is KiB."""
    unit = element.get("unit", "KiB")
    if unit not in UNITS:
        raise ConfigError(f"<{element.tag}> has unit {unit!r}; units are {', '.join(UNITS)}")
    return whole((element.text or "").strip(), f"<{element.tag}>") * UNITS[unit]


def choice(text: str, kind: type[Choice], place: str) -> Choice:
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(str(one.value) for one in kind)
        raise ConfigError(f"{place} is {text!r}; here it can be {known}") from None


def yes(text: str | None) -> bool:
    return text in ("yes", "on", "1")


def paths(root: Element) -> Iterator[tuple[str, Element]]:
    """All elements below, and where they are: `devices/disk/source`."""

    def below(element: Element, prefix: str) -> Iterator[tuple[str, Element]]:
        for child in element:
            path = f"{prefix}{child.tag}"
            yield path, child
            yield from below(child, f"{path}/")

    return below(root, "")
