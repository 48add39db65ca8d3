"""DHCP and DNS for a network: one dnsmasq, a process of its own that is told everything by one file.

Spec: dnsmasq(8). The process is found by that file's name among its words, not by a number that another process may have by now.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from ipaddress import IPv4Interface
from pathlib import Path

from innkeeper.errors import HostError
from innkeeper.net.host import records
from innkeeper.net.host.network import HOSTS_LIMIT, Address, Mode, Network, Range
from innkeeper.net.host.rules import search_path
from innkeeper.records import dataclass

PROGRAM, PACKAGE = "dnsmasq", "dnsmasq-base"
CONFIGURATION, DHCP_HOSTS, DNS_HOSTS, LEASES, PROCESS = "dnsmasq.conf", "dhcp-hosts", "hosts", "leases", "pid"
LEASE_S = 3600
PATIENCE_S = 10.0
IN_USE_S = 1.0
NETWORK_TROUBLE = 2  # its status for an address in use, among others
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Lease:
    """An address that a machine has for a while."""

    expiry: int  # seconds since 1970; 0: for ever
    mac: str
    address: str
    host_name: str | None
    client: str | None


def require() -> str:
    """Raises `HostError` if there is no dnsmasq."""
    program = shutil.which(PROGRAM, path=search_path())
    if program is None:
        raise HostError(
            f"DHCP and DNS of networks are served by {PROGRAM}, which is not installed; install the package {PACKAGE}, "
            "or define the network without <dhcp> and with <dns enable='no'/>"
        )
    return program


def start(network: Network) -> None:
    """Has exactly this network's server run, be there one before or not. Raises `HostError`."""
    folder = records.files_of(network.name)
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)
    except OSError as error:
        raise HostError(f"cannot make {folder}: {error.strerror}") from error
    text = configuration(network, folder)
    file = folder / CONFIGURATION
    same = file.exists() and file.read_text() == text
    write_hosts(network)
    if same and find(network.name):
        reload(network.name)
        return
    stop(network.name)
    records.write_file(file, text)
    launch(file, network.bridge)


def launch(file: Path, bridge: str) -> None:
    """Returns once it serves. One before it may still hold its sockets when nothing else is left of it."""
    deadline = time.monotonic() + IN_USE_S
    while True:
        done = subprocess.run(
            [require(), f"--conf-file={file}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
            cwd="/",
            umask=0o022,
        )
        if done.returncode == 0:
            return
        if done.returncode != NETWORK_TROUBLE or time.monotonic() > deadline:
            said = next(iter(done.stderr.strip().splitlines()), f"status {done.returncode}")
            raise HostError(f"no DHCP and DNS on {bridge}: {said.strip()}")
        time.sleep(0.05)


def write_hosts(network: Network) -> None:
    """The two files that a running server reads again."""
    folder = records.files_of(network.name)
    dhcp = "".join(f"{line}\n" for address in network.addresses for line in dhcp_hosts(address))
    known = [(host.address, (host.name,)) for address in network.addresses for host in address.hosts if host.name]
    dns = "".join(f"{where}\t{' '.join(names)}\n" for where, names in [*network.dns.hosts, *known] if where is not None)
    records.write_file(folder / DHCP_HOSTS, dhcp)
    records.write_file(folder / DNS_HOSTS, dns)


def reload(name: str) -> None:
    """Has the server read its hosts again."""
    for process in find(name):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGHUP)


def stop(name: str) -> None:
    """Idempotent; returns once it has gone. Raises `HostError`."""
    deadline = time.monotonic() + PATIENCE_S
    told: set[int] = set()
    while processes := find(name):
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM if process not in told else 0)
            told.add(process)
        if time.monotonic() > deadline:
            raise HostError(
                f"{PROGRAM} of network {name}, process {processes[0]}, does not end; kill -9 it, and try again"
            )
        time.sleep(0.01)


def find(name: str) -> list[int]:
    """The server's process, in this network namespace; none if there is none."""
    word = f"--conf-file={records.files_of(name) / CONFIGURATION}".encode()
    here = (PROC / "self/ns/net").stat().st_ino
    found = []
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if (
                word in words
                and words[0].rpartition(b"/")[2] == PROGRAM.encode()
                and (entry / "ns/net").stat().st_ino == here
            ):
                found.append(int(entry.name))
    return found


def leases(name: str) -> list[Lease]:
    """In the order of their addresses' file; none if the server has none."""
    try:
        text = (records.files_of(name) / LEASES).read_text()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise HostError(f"cannot read the leases of network {name}: {error.strerror}") from error
    return [lease for line in text.splitlines() if (lease := read_lease(line)) is not None]


def read_lease(line: str) -> Lease | None:
    """A line of its file; None for its own DUID.

    >>> read_lease("1700000000 52:54:00:00:00:01 10.0.2.15 web 01:52:54:00:00:00:01").host_name
    'web'
    """
    words = line.split()
    if len(words) != 5 or not words[0].isdigit():
        return None
    expiry, mac, address, host_name, client = (None if word == "*" else word for word in words)
    return Lease(int(expiry or 0), mac or "", address or "", host_name, client)


# ---- its files ----------------------------------------------------------------------------------


def configuration(network: Network, folder: Path) -> str:
    lines = [
        f"# Innkeeper's, for network {network.name}; it goes with it",
        f"pid-file={folder / PROCESS}",
        "bind-dynamic",
        "except-interface=lo",
        f"interface={network.bridge}",
        "no-hosts",
        *dns_lines(network, folder),
    ]
    served = [line for address in network.addresses for line in address_lines(network, address)]
    if any(address.serves_dhcp for address in network.addresses):
        served += [
            f"dhcp-leasefile={folder / LEASES}",
            f"dhcp-hostsfile={folder / DHCP_HOSTS}",
            f"dhcp-lease-max={sum(size(address) for address in network.addresses) + HOSTS_LIMIT}",
            "dhcp-authoritative",
            "dhcp-no-override",
            "no-ping",  # it would look for three seconds whether an address is in use, and serve nobody meanwhile
        ]
    return "\n".join([*lines, *served]) + "\n"


def dns_lines(network: Network, folder: Path) -> list[str]:
    if not network.dns.enabled:
        return ["port=0"]
    lines = [f"addn-hosts={folder / DNS_HOSTS}", "domain-needed"]
    if network.domain is not None:
        lines += [f"domain={network.domain}", "expand-hosts"]
        lines += [f"local=/{network.domain}/"] if network.domain_is_local else []
    for server, domain in network.dns.forwarders:
        where = f"/{domain}/" if domain is not None else ""
        lines.append(f"server={where}{server if server is not None else '#'}")
    if network.mode is Mode.NONE or any(domain is None for _, domain in network.dns.forwarders):
        lines.append("no-resolv")  # nobody is asked but those that are named
    return lines


def address_lines(network: Network, address: Address) -> list[str]:
    if not isinstance(address.interface, IPv4Interface):
        return address_lines_6(network, address)
    mask = address.interface.netmask
    lines = [f"dhcp-range={each.start},{each.end},{mask},{lease(each)}" for each in address.ranges]
    if address.hosts and not address.ranges:
        lines.append(f"dhcp-range={address.interface.network.network_address},static,{mask},{LEASE_S}")
    if not address.serves_dhcp:
        return []
    if network.mode is Mode.NONE:
        lines.append("dhcp-option=option:router")  # empty: there is no way out
    if not network.dns.enabled:
        lines.append("dhcp-option=option:dns-server")
    if network.mtu is not None:
        lines.append(f"dhcp-option=option:mtu,{network.mtu}")
    return lines


def address_lines_6(network: Network, address: Address) -> list[str]:
    whole = address.interface.network
    lines = [f"dhcp-range={each.start},{each.end},{whole.prefixlen},{lease(each)}" for each in address.ranges]
    if address.hosts and not address.ranges:
        lines.append(f"dhcp-range={whole.network_address},static,{whole.prefixlen}")
    if not lines:
        if whole.prefixlen != 64:
            return []
        lines.append(f"dhcp-range={whole.network_address},ra-only,{whole.prefixlen}")
    router = [f"ra-param={network.bridge},0,0"] if network.mode is Mode.NONE else []
    return ["enable-ra", *router, *lines]


def lease(each: Range) -> str:
    seconds = LEASE_S if each.lease_s is None else each.lease_s
    return "infinite" if seconds == 0 else str(max(seconds, 120))  # the least that dnsmasq takes


def size(address: Address) -> int:
    return sum(int(each.end) - int(each.start) + 1 for each in address.ranges)


def dhcp_hosts(address: Address) -> list[str]:
    lines = []
    for host in address.hosts:
        six = address.interface.version == 6
        who = f"id:{host.duid}" if host.duid is not None else host.mac
        where = (f"[{host.address}]" if six else str(host.address)) if host.address is not None else None
        lines.append(",".join(it for it in (who, where, host.name) if it is not None))
    return lines
