"""The disks of a machine's document, and the same document with other files behind them."""

from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

from innkeeper import storage
from innkeeper.errors import ConfigError, HostError
from innkeeper.manager.elements import Element, attribute, parse
from innkeeper.records import dataclass


@dataclass(frozen=True, slots=True)
class Drive:
    """One disk. `written` is whether a guest may change it: only those are part of snapshots."""

    target: str
    path: Path | None
    format: str | None
    written: bool
    is_file: bool

    @property
    def file(self) -> Path:
        """Raises `HostError` if it is not there."""
        if self.path is None or not self.path.exists():
            raise HostError(f"disk {self.target} is {self.path}, which is not there")
        return self.path

    @property
    def kind(self) -> str:
        """Its format, which is looked at if the document does not say it."""
        return self.format or storage.probe(self.file)


def drives(xml: str) -> list[Drive]:
    return [drive_of(part) for part in parse(xml, "the domain").findall("devices/disk")]


def drive_of(part: Element) -> Drive:
    is_file = part.get("type", "file") == "file"
    path = attribute(part, "source", "file" if is_file else "dev")
    return Drive(
        target=attribute(part, "target", "dev") or "?",
        path=Path(path) if path else None,
        format=attribute(part, "driver", "type"),
        written=part.get("device", "disk") == "disk" and part.find("readonly") is None,
        is_file=is_file,
    )


def written_drives(xml: str) -> dict[str, Drive]:
    """By their targets. Raises `ConfigError` if two have the same."""
    found: dict[str, Drive] = {}
    for drive in drives(xml):
        if drive.written and drive.path is not None:
            if drive.target in found:
                raise ConfigError(f"two disks are {drive.target}; give each a <target dev> of its own")
            found[drive.target] = drive
    return found


def named(xml: str, name: str) -> str:
    """With the name that the machine has now."""
    root = parse(xml, "the domain")
    element = root.find("name")
    if element is not None:
        element.text = name
    return ET.tostring(root, encoding="unicode") + "\n"


def with_files(xml: str, files: Mapping[str, tuple[Path | None, str]]) -> str:
    """With other files, and their formats, behind the disks of these targets; None is an empty drive."""
    root = parse(xml, "the domain")
    for part in root.findall("devices/disk"):
        target = attribute(part, "target", "dev") or "?"
        if target in files:
            put(part, *files[target])
    return ET.tostring(root, encoding="unicode") + "\n"


def put(part: Element, path: Path | None, image_format: str) -> None:
    kind, here, other = (
        ("block", "dev", "file") if path is not None and path.is_block_device() else ("file", "file", "dev")
    )
    part.set("type", kind)
    source, driver = part.find("source"), part.find("driver")
    if path is None:
        if source is not None:
            part.remove(source)
        return
    if source is None:
        source = ET.SubElement(part, "source")
    if driver is None:
        driver = ET.Element("driver", name="innkeeper")
        part.insert(0, driver)
    source.attrib.pop(other, None)
    source.set(here, str(path))
    driver.set("type", image_format)
