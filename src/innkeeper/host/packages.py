"""Debian packages that Innkeeper uses when they are there: firmware, and the tools behind `inn image`."""

import os
import shutil
from pathlib import Path

from innkeeper.errors import HostError
from innkeeper.host.finding import Finding, Status

FIRMWARE = {
    "seabios": (Path("/usr/share/seabios/bios-256k.bin"),),
    "ovmf": (Path("/usr/share/OVMF/OVMF_CODE_4M.fd"), Path("/usr/share/OVMF/OVMF_CODE.fd")),
}
NETWORK_ROMS = {"virtio": Path("/usr/lib/ipxe/qemu/efi-virtio.rom"), "e1000": Path("/usr/lib/ipxe/qemu/efi-e1000.rom")}
VIDEO_BIOS = Path("/usr/share/seabios/vgabios-stdvga.bin")
NETWORK_TOOLS = {"nft": "nftables", "dnsmasq": "dnsmasq-base"}
ADMINISTRATORS = ("/usr/sbin", "/sbin")  # where their programs are, which users' paths may leave out
IMAGE_TOOLS = {"apt-get": "apt", "apt-cache": "apt", "dpkg-deb": "dpkg"}


def find_firmware(root: Path = Path("/")) -> Finding:
    there = {
        package: any((root / path.relative_to("/")).is_file() for path in paths) for package, paths in FIRMWARE.items()
    }
    missing = [package for package, found in there.items() if not found]
    return Finding(
        name="firmware",
        status=Status.YES if not missing else Status.PARTLY if any(there.values()) else Status.NO,
        summary=", ".join(f"{package}: {'there' if found else 'not there'}" for package, found in there.items()),
        consequence="kernels are started directly, which needs no firmware",
        advice=f"as root: apt-get install {' '.join(missing)}" if missing else None,
        facts=there,
    )


def firmware_file(package: str, root: Path = Path("/")) -> Path:
    """The firmware image of a package. Raises `HostError` if it is not installed."""
    for path in FIRMWARE[package]:
        if (found := root / path.relative_to("/")).is_file():
            return found
    raise HostError(
        f"there is no {FIRMWARE[package][0]}, which Debian's package {package} has; as root: apt-get install {package}"
    )


def network_rom(model: str, root: Path = Path("/")) -> Path | None:
    """The option ROM by which firmware boots from a card, if Debian's package ipxe-qemu is installed."""
    path = root / NETWORK_ROMS[model].relative_to("/")
    return path if path.is_file() else None


def video_bios_file(root: Path = Path("/")) -> Path:
    """The BIOS of the graphics card. Raises `HostError` if it is not installed."""
    if (found := root / VIDEO_BIOS.relative_to("/")).is_file():
        return found
    raise HostError(f"there is no {VIDEO_BIOS}, which Debian's package seabios has; as root: apt-get install seabios")


def find_image_tools() -> Finding:
    missing = sorted({package for tool, package in IMAGE_TOOLS.items() if shutil.which(tool) is None})
    return Finding(
        name="image tools",
        status=Status.NO if missing else Status.YES,
        summary=f"not there: {', '.join(missing)}" if missing else "apt and dpkg are there",
        consequence=(
            "inn image cannot fetch packages; inn run takes your own kernel and initramfs"
            if missing
            else "inn image fetches kernels and busybox from Debian, without privileges"
        ),
        advice="a Debian host" if missing else None,
        facts={"missing": missing},
    )


def find_network_tools() -> Finding:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *ADMINISTRATORS])
    missing = sorted(package for tool, package in NETWORK_TOOLS.items() if shutil.which(tool, path=path) is None)
    return Finding(
        name="network tools",
        status=Status.NO if missing else Status.YES,
        summary=f"not there: {', '.join(missing)}" if missing else "nft and dnsmasq are there",
        consequence=(
            "inn net makes no networks with NAT, DHCP or DNS; machines have the built-in user network"
            if missing
            else "inn net makes networks of machines, with NAT, DHCP and DNS, as root"
        ),
        advice=f"as root: apt-get install {' '.join(missing)}" if missing else None,
        facts={"missing": missing},
    )
