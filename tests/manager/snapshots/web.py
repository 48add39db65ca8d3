"""The machine `web` of the tests of snapshots: what it is, and what is on its disks."""

from pathlib import Path
from uuid import UUID

from tests.storage.qemu import qemu_img, qemu_io, qemu_json

from innkeeper import storage
from innkeeper.manager.normal import normalised
from innkeeper.manager.snapshots.drives import written_drives
from innkeeper.manager.store import Store
from innkeeper.testing.guests import SPIN, flat_guest

MIB = 1 << 20
ID = UUID(int=7)


def document(folder: Path) -> str:
    disks = "".join(
        f"<disk type='file'><driver type='qcow2'/><source file='{folder}/{name}.qcow2'/><target dev='{target}'/></disk>"
        for name, target in (("a", "vda"), ("b", "vdb"))
    )
    disks += f"<disk type='file' device='cdrom'><source file='{folder}/disc'/><target dev='hda' bus='ide'/></disk>"
    disks += f"<disk type='file'><source file='{folder}/disc'/><target dev='vdc'/><readonly/></disk>"
    text = f"<domain type='bt'><name>web</name><uuid>{ID}</uuid><memory unit='MiB'>64</memory><devices>{disks}</devices></domain>"
    return normalised(text)


def on_two_disks(folder: Path, suffix: str, driver: str = "") -> str:
    """A machine that does nothing, with a virtio disk and a SATA one whose files this makes, each with a 1 in its second MiB."""
    (folder / "guest").write_bytes(flat_guest(SPIN))
    parts = ""
    for name, bus in (("vda", "virtio"), ("sda", "sata")):
        file = folder / f"{name}.{suffix}"
        storage.create(file, 4 * MIB, image_format="qcow2")
        write(file, 1)
        parts += f"<disk type='file'>{driver}<source file='{file}'/><target dev='{name}' bus='{bus}'/></disk>"
    text = f"<os><type>hvm</type><kernel>{folder}/guest</kernel></os><devices>{parts}</devices>"
    return f"<domain type='bt'><name>web</name><memory unit='MiB'>64</memory>{text}</domain>"


def write(path: Path, value: int) -> None:
    """What a guest leaves on its disk: the whole of the second MiB."""
    qemu_io(path, f"write -q -P {value} 1M 1M")


def holds(path: Path, value: int) -> None:
    qemu_io(path, f"read -q -P {value} 1M 1M")
    qemu_img("check", "-q", path)


def disks(folder: Path) -> dict[str, Path]:
    """The files that the machine is on now."""
    with Store(folder / "machines.sqlite") as store:
        found = written_drives(store.get("web").xml)
    return {target: drive.path for target, drive in found.items() if drive.path is not None}


def request(name: str | None = None, more: str = "") -> str:
    return f"<domainsnapshot>{f'<name>{name}</name>' if name else ''}{more}</domainsnapshot>"


def names_in(path: Path) -> list[str]:
    return [found["name"] for found in qemu_json("info", path).get("snapshots", [])]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name[0] in "ab" and path.is_file())
