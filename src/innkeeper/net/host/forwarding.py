"""Whether this host forwards packets: switched on for the first network that needs it, and back after the last.

Spec: Linux Documentation/networking/ip-sysctl.rst. What it was before is recorded first, so that a kill at any moment loses nothing. It is
put back only if it was us who changed it, no other network of ours needs it, and nobody else's rules forward.
"""

import json
from pathlib import Path

from innkeeper.errors import HostError
from innkeeper.net.host import foreign, records
from innkeeper.net.host.netlink import RTPROT_RA, Netlink
from innkeeper.net.host.network import FORWARDED, Network

RECORD = "forwarding"
PROC = Path("/proc/sys/net")
SWITCHES = {4: PROC / "ipv4/ip_forward", 6: PROC / "ipv6/conf/all/forwarding"}


def wanted(network: Network) -> list[int]:
    """For which IP versions."""
    if network.mode not in FORWARDED:
        return []
    return sorted({it.interface.version for it in network.addresses})


def switch_on(versions: list[int]) -> None:
    """Raises `HostError`."""
    for version in versions:
        switch = SWITCHES[version]
        if read(switch) != "0":
            continue
        if version == 6:
            refuse_to_lose_routes()
        before = changed()
        before.setdefault(str(version), "0")
        records.write_file(records.folder() / RECORD, json.dumps(before))
        write(switch, "1")


def switch_back(still_needed: set[int]) -> str | None:
    """What stayed on and why, in words. Raises `HostError`."""
    before = changed()
    due = {version: value for version, value in before.items() if int(version) not in still_needed}
    if not due:
        return None
    others = foreign.forwards_for_others()
    if not others:
        for version, value in due.items():
            write(SWITCHES[int(version)], value)
    rest = {version: value for version, value in before.items() if version not in due}
    file = records.folder() / RECORD
    if rest:
        records.write_file(file, json.dumps(rest))
    else:
        file.unlink(missing_ok=True)
    return "the host goes on forwarding packets, as rules of another program's count on it" if others else None


def changed() -> dict[str, str]:
    """What we changed: IP version → what it was before."""
    try:
        found: dict[str, str] = json.loads((records.folder() / RECORD).read_text())
    except FileNotFoundError:
        return {}
    return found


def refuse_to_lose_routes() -> None:
    """A host that forwards IPv6 ignores routers' advertisements, unless told otherwise. Raises `HostError`."""
    with Netlink() as netlink:
        names = {link.index: link.name for link in netlink.links()}
        learnt = {names.get(route.index, "") for route in netlink.routes() if route.protocol == RTPROT_RA}
    for name in sorted(filter(None, learnt)):
        if read(PROC / "ipv6/conf" / name / "accept_ra") != "2":
            raise HostError(
                f"forwarding IPv6 would lose the host's own routes, which {name} learns from routers; "
                f"first run: sysctl net.ipv6.conf.{name}.accept_ra=2"
            )


def read(switch: Path) -> str:
    try:
        return switch.read_text().strip()
    except OSError as error:
        raise HostError(f"cannot read {switch}: {error.strerror}") from error


def write(switch: Path, value: str) -> None:
    try:
        switch.write_text(value)
    except OSError as error:
        raise HostError(f"cannot set {switch} to {value}: {error.strerror}") from error
