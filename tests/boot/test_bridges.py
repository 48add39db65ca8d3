"""Machines on a bridge that `inn net` made, in network namespaces: among themselves, by name, and through NAT to the outside."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.image import KernelImage
from tests.namespaces import Namespace, skip_unless_possible

from .conftest import Initramfs
from .inn import Line, Running, guest

pytestmark = [pytest.mark.boot, pytest.mark.slow]

INN = [sys.executable, "-m", "innkeeper.cli"]

SERVER = """
import socket
with socket.create_server(("198.51.100.2", 7777)) as server:
    print("there", flush=True)
    while True:
        caller, (address, _) = server.accept()
        with caller:
            caller.sendall(f"seen {address}\\n".encode())
"""

COMMANDS = r"""
for word in $(cat /proc/cmdline); do case $word in me=*|other=*) eval "$word";; esac; done
cat > /tmp/dhcp <<'X'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add $ip/24 dev eth0; ip route add default via $router
echo "nameserver $dns" > /etc/resolv.conf; echo "search $domain" >> /etc/resolv.conf
echo "LEASE $ip $router $dns $domain"
X
chmod +x /tmp/dhcp
ip link set lo up; ip link set eth0 up
udhcpc -i eth0 -s /tmp/dhcp -x hostname:$me -n -q -t 20 -T 1
until ping -c 1 -W 1 $other > /tmp/ping 2>&1; do sleep 0.2; done
echo "PINGED $(sed -n 's/^64 bytes from \([0-9.]*\).*/\1/p' /tmp/ping) BY $(nslookup $other.inn.test | sed -n 's/^Name:[[:space:]]*//p' | head -n 1)"
echo "OUTSIDE $(nc 198.51.100.2 7777 < /dev/null)"
read -r word
poweroff -f
"""


@pytest.fixture
def host() -> Iterator[Namespace]:
    skip_unless_possible("nft", "dnsmasq")
    with Namespace() as host:
        yield host


@pytest.fixture
def outside(host: Namespace) -> Iterator[Namespace]:
    """The world beyond the host: it has a way to the host's own address, and to nothing behind it."""
    with Namespace() as outside:
        host.wire("eth0", outside, "wire")
        host.shell("ip address add 198.51.100.1/24 dev eth0; ip route add default via 198.51.100.2")
        outside.shell("ip address add 198.51.100.2/24 dev wire")
        with subprocess.Popen(outside.inside(sys.executable, "-c", SERVER), stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"there\n"
            yield outside
            server.kill()


def machine(host: Namespace, kernel: KernelImage, initrd: Path, name: str, *options: str, **more: str) -> Running:
    """`inn run` on that host."""
    words = guest(
        kernel.vmlinuz, initrd, append=f"console=ttyS0 cryptomgr.notests quiet {more.pop('append')}", memory=256
    )
    process = subprocess.Popen(
        host.inside(*INN, "run", *words, "--name", name, *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    return Running(process, Line(process.stdout.fileno()))


@pytest.mark.usefixtures("outside")
def test_machines_reach_each_other_by_name_and_the_outside_through_nat(
    debian: KernelImage, initramfs: Initramfs, host: Namespace
) -> None:
    archive = initramfs(COMMANDS, modules=("virtio_pci", "virtio_net"))
    host.run(*INN, "net", "create", "br0", "--address", "10.0.2.1/24", "--domain", "inn.test")
    one = machine(host, debian, archive, "one", "--network", "bridge=br0", append="me=alpha other=beta")
    two = machine(host, debian, archive, "two", "--network", "network=br0", append="me=beta other=alpha")
    with one, two:
        for each in (one, two):
            each.line.wait_for(r"LEASE 10\.0\.2\.\d+ 10\.0\.2\.1 10\.0\.2\.1 inn\.test", limit_s=120)
        for each, other in ((one, "beta"), (two, "alpha")):
            each.line.wait_for(rf"PINGED 10\.0\.2\.\d+ BY {other}\.inn\.test")
            each.line.wait_for("OUTSIDE seen 198.51.100.1")
        leases = host.run(*INN, "net-dhcp-leases", "br0").stdout
        assert "alpha" in leases
        assert "beta" in leases
        assert len([name for name in interfaces(host) if name.startswith("inn")]) == 2
        one.process.kill()
        one.process.wait()
        assert one.process.stdin is not None
        assert two.process.stdin is not None
        two.process.stdin.write(b"\n")
        two.process.stdin.flush()
        assert two.status(limit_s=60) == 0
    assert not [name for name in interfaces(host) if name.startswith("inn")]  # neither the killed one's nor the other's
    host.run(*INN, "net-destroy", "br0")
    assert interfaces(host) == ["lo", "eth0"]


PLUGGED = r"""
cat > /tmp/dhcp <<'X'
#!/bin/sh
[ "$1" = bound ] && echo "LEASE $interface $ip"
X
chmod +x /tmp/dhcp
for card in eth0 eth1; do
    until ip link set $card up 2> /dev/null; do sleep 0.1; done
    udhcpc -i $card -s /tmp/dhcp -n -q -t 20 -T 1
done
sleep 1000
"""


def test_a_kept_machines_cards_on_a_network_come_and_go(
    debian: KernelImage, initramfs: Initramfs, host: Namespace, tmp_path: Path
) -> None:
    archive = initramfs(PLUGGED, modules=("virtio_pci", "virtio_net"))
    host.run(*INN, "net", "create", "br0", "--address", "10.0.2.1/24", "--host", "52:54:00:00:00:09=10.0.2.99,nine")
    file = tmp_path / "kept.xml"
    file.write_text(
        f"<domain type='qemu'><name>kept</name><memory unit='MiB'>256</memory><os><type>hvm</type><kernel>{debian.vmlinuz}</kernel>"
        f"<initrd>{archive}</initrd><cmdline>console=ttyS0 cryptomgr.notests quiet</cmdline></os><devices>"
        "<interface type='network'><source network='br0'/><mac address='52:54:00:00:00:08'/></interface></devices></domain>"
    )
    host.run(*INN, "define", str(file))
    host.run(*INN, "start", "kept")
    assert leased(host, "52:54:00:00:00:08").startswith("10.0.2.")
    table = host.run(*INN, "domiflist", "kept").stdout
    assert [line.split()[1:3] for line in table.splitlines() if "52:54" in line] == [["network", "br0"]]
    host.run(*INN, "attach-interface", "kept", "network", "br0", "--mac", "52:54:00:00:00:09", "--live")
    assert leased(host, "52:54:00:00:00:09") == "10.0.2.99"
    assert "10.0.2.99" in host.run(*INN, "domifaddr", "kept").stdout
    assert len([name for name in interfaces(host) if name.startswith("inn")]) == 2
    host.run(*INN, "detach-interface", "kept", "network", "--mac", "52:54:00:00:00:09", "--live")
    assert len([name for name in interfaces(host) if name.startswith("inn")]) == 1
    host.run(*INN, "destroy", "kept")
    deadline = time.monotonic() + 20
    while [name for name in interfaces(host) if name.startswith("inn")]:
        assert time.monotonic() < deadline, "the tap of a machine that has ended stays"
        time.sleep(0.1)


def leased(host: Namespace, mac: str) -> str:
    """The address that a card has got, once it has."""
    deadline = time.monotonic() + 120
    while not (found := json.loads(host.run(*INN, "net-dhcp-leases", "br0", mac, "--json").stdout)):
        assert time.monotonic() < deadline, f"{mac} has no lease"
        time.sleep(0.3)
    return str(found[0]["address"])


def interfaces(host: Namespace) -> list[str]:
    names = host.run("ip", "-o", "link").stdout.splitlines()
    return [line.split()[1].rstrip(":").partition("@")[0] for line in names]
