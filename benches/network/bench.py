"""The network benchmark: iperf3 between a guest and its host, both ways, over a user network and over a tap interface,
against QEMU's TCG with the same kernel, the same archive and the same kind of card.

Each run is a boot of its own and ends by itself; runs alternate, so that a busy machine is unfair to both alike. Tap
interfaces need root; without, those rows are left out and said so.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from innkeeper.image import DEFAULT_PACKAGE, InitramfsRecipe, KernelImage, build_initramfs, fetch_kernel

BAR = 1.5
LIMIT_S = 300
TAP, TAP_HOST, TAP_GUEST = "innbench0", "10.77.0.1", "10.77.0.2"
USER_HOST, USER_GUEST = "10.0.2.2", "10.0.2.15"
MEMORY_MIB = 512
MODULES = ("virtio_pci", "virtio_net", "e1000")
DIRECTIONS = {"guest to host": "up", "host to guest": "down"}

INIT = r"""#!/bin/sh
. /etc/innkeeper/setup
for word in $(cat /proc/cmdline); do case $word in at=*|to=*|port=*|seconds=*) eval "$word";; esac; done
ip link set lo up; ip link set eth0 up; ip addr add $at/24 dev eth0
measure() {
  iperf3 -J -c $to -p $port -t $seconds -O 1 "$@" > /tmp/result || cat /tmp/result
  echo "RESULT $name $(tr -d '\n\t ' < /tmp/result | sed 's/.*"sum_received":{[^}]*"bits_per_second":\([0-9.e+]*\).*/\1/')"
}
ping -c 1 -w 10 $to > /dev/null
name=up measure
name=down measure -R
poweroff -f
"""


class BenchError(Exception):
    """A run that did not do what it should have; nothing was measured."""


@dataclass(frozen=True, slots=True)
class Guest:
    """What every run boots, and what it measures."""

    kernel: Path
    initrd: Path
    seconds: int
    port: int

    def append(self, network: str) -> str:
        at, to = (TAP_GUEST, TAP_HOST) if network == "tap" else (USER_GUEST, USER_HOST)
        return f"console=ttyS0 quiet cryptomgr.notests at={at} to={to} port={self.port} seconds={self.seconds}"


@dataclass(slots=True)
class Speeds:
    """Bits a second, turn by turn, of one network and direction."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    def ratio(self) -> float:
        """Of pairs: above 1 ours is faster."""
        return median(mine / other for mine, other in zip(self.ours, self.theirs, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--turns", type=int, default=3, help="turns (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="of each transfer (default: %(default)s)")
    parser.add_argument("--networks", nargs="+", choices=["user", "tap"], default=["user", "tap"])
    parser.add_argument("--model", choices=["virtio", "e1000"], default="virtio", help="the card")
    parser.add_argument("--kernel-package", default=DEFAULT_PACKAGE, help="a Debian kernel (default: %(default)s)")
    parser.add_argument("--append", type=Path, metavar="PAGE.md", help="add the result to a page")
    arguments = parser.parse_args()
    for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("iperf3", "iperf3")):
        if shutil.which(program) is None:
            print(f"error: no {program} (Debian package {package})", file=sys.stderr)
            return 2
    try:
        page = measure_all(arguments)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(page, end="")
    if arguments.append is not None:
        with arguments.append.open("a") as file:
            file.write("\n" + page)
    return 0


def measure_all(arguments: argparse.Namespace) -> str:
    kernel = fetch_kernel(arguments.kernel_package)
    networks = [name for name in arguments.networks if name != "tap" or os.geteuid() == 0]
    measured = {(network, way): Speeds() for network in networks for way in DIRECTIONS.values()}
    with TemporaryDirectory() as directory, server() as port, tap_interface(wanted="tap" in networks):
        archive = build_archive(kernel, Path(directory))
        guest = Guest(kernel.vmlinuz, archive, arguments.seconds, port)
        for turn in range(arguments.turns):
            for network in networks:
                print(f"{network}: turn {turn + 1} of {arguments.turns} ...", file=sys.stderr)
                ours = run(innkeeper_command(guest, network, arguments.model))
                theirs = run(qemu_command(guest, network, arguments.model))
                for way in DIRECTIONS.values():
                    measured[network, way].ours.append(ours[way])
                    measured[network, way].theirs.append(theirs[way])
    return render(measured, kernel, arguments)


def build_archive(kernel: KernelImage, directory: Path) -> Path:
    init = directory / "init"
    init.write_text(INIT)
    program = Path(shutil.which("iperf3") or "")
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    libraries = [Path(path) for path in re.findall(r"(/\S+) \(0x", listed)]
    files = [(program, "/bin/iperf3"), *((path.resolve(), str(path)) for path in libraries)]
    present = [name for name in MODULES if any(kernel.modules.rglob(f"{name}.ko*"))]
    recipe = InitramfsRecipe(init=init, modules=tuple(present), modules_directory=kernel.modules, files=tuple(files))
    return build_initramfs(recipe, directory / "initrd")


@contextmanager
def server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    process = subprocess.Popen(["iperf3", "-s", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def tap_interface(*, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    commands = (
        ["ip", "tuntap", "add", TAP, "mode", "tap", "vnet_hdr"],
        ["ip", "addr", "add", f"{TAP_HOST}/24", "dev", TAP],
        ["ip", "link", "set", TAP, "up"],
    )
    try:
        for command in commands:
            subprocess.run(command, check=True)
        yield
    finally:
        subprocess.run(["ip", "link", "del", TAP], check=False)


def innkeeper_command(guest: Guest, network: str, model: str) -> list[str]:
    link = f"tap={TAP},model={model}" if network == "tap" else f"user,loopback=yes,model={model}"
    inn = [sys.executable, "-m", "innkeeper.cli", "run", "--engine", "bt", "--timeout", str(LIMIT_S)]
    files = ["--kernel", str(guest.kernel), "--initrd", str(guest.initrd), "--append", guest.append(network)]
    return [*inn, *files, "--memory", str(MEMORY_MIB), "--network", link]


def qemu_command(guest: Guest, network: str, model: str) -> list[str]:
    link = f"tap,id=n,ifname={TAP},script=no,downscript=no,vhost=off" if network == "tap" else "user,id=n"
    card = {"virtio": "virtio-net-pci", "e1000": "e1000"}[model]
    machine = ["qemu-system-x86_64", "-accel", "tcg", "-m", str(MEMORY_MIB), "-no-reboot", "-nodefaults"]
    files = ["-kernel", str(guest.kernel), "-initrd", str(guest.initrd), "-append", guest.append(network)]
    return [
        *machine,
        *("-no-user-config", "-display", "none", "-serial", "stdio"),
        *files,
        *("-netdev", link, "-device", f"{card},netdev=n,romfile="),
    ]


def run(command: list[str]) -> dict[str, float]:
    """Bits a second each way."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=LIMIT_S + 30)
    said = done.stdout.decode(errors="replace")
    found = {way: float(speed) for way, speed in re.findall(r"RESULT (\w+) ([0-9.e+]+)\s", said)}
    if set(found) != set(DIRECTIONS.values()) or done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()
        raise BenchError(f"{command[0]} ended with {done.returncode}: {complaint}; it said: {said[-800:]}")
    return found


def render(measured: dict[tuple[str, str], Speeds], kernel: KernelImage, arguments: argparse.Namespace) -> str:
    left_out = "" if os.geteuid() == 0 else " Tap left out: it needs root."
    described = (
        f"iperf3 in the guest, {arguments.seconds} s each way, one connection; {arguments.turns} turns, alternating; "
        f"medians. Guest: {kernel.vmlinuz.name}, 1 vCPU, card {arguments.model}.{left_out}"
    )
    lines = [
        "## Network",
        "",
        described,
        "",
        "| network | direction | innkeeper bt | qemu tcg | speed over TCG | bar | |",
        "|---|---|---|---|---|---|---|",
    ]
    for (network, way), speeds in measured.items():
        direction = next(name for name, short in DIRECTIONS.items() if short == way)
        verdict = "met" if speeds.ratio() >= BAR else "**not met**"
        ours, theirs = (f"{median(side) / 1e9:.2f} Gbit/s" for side in (speeds.ours, speeds.theirs))
        ratio = f"{speeds.ratio():.2f} ×"
        lines.append(f"| {network} | {direction} | {ours} | {theirs} | {ratio} | at least {BAR:g} × | {verdict} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
