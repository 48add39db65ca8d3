"""What guests' agents answer, checked and told by virsh's names.

Spec: the QEMU Guest Agent Protocol Reference; virsh.1, `guestinfo`. All of it is a guest's word: parts that are not as they should be raise `HostError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from innkeeper.errors import HostError

if TYPE_CHECKING:
    from innkeeper.machine.present import DiskNow


Part = Mapping[str, Any]


class Disks:
    """Which of a machine's disks a guest means: it knows PCI addresses and serial numbers."""

    def __init__(self, disks: Sequence[DiskNow]) -> None:
        self._slots = {disk["slot"]: disk["target"] for disk in disks if disk["slot"] is not None}
        serials = [disk["serial"] for disk in disks]
        self._serials = {
            disk["serial"]: disk["target"] for disk in disks if disk["serial"] and serials.count(disk["serial"]) == 1
        }

    def target(self, told: Any) -> str | None:
        """By a `GuestDiskAddress`; None if it is not known."""
        if not isinstance(told, dict):
            return None
        place = told.get("pci-controller")
        if told.get("bus-type") == "virtio" and isinstance(place, dict):
            slot = number(place.get("slot"))
            if slot is not None and (place.get("domain"), place.get("bus"), place.get("function")) == (0, 0, 0):
                return self._slots.get(slot)
        serial = told.get("serial")
        return self._serials.get(serial) if isinstance(serial, str) else None


def whole(value: Any, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise HostError(f"the guest agent does not say {what}")
    return value


def number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def word(value: Any) -> str:
    """A text of the guest's, however long it may be."""
    return str(value)[:4096] if isinstance(value, str | int) else "-"


def parts(value: Any, what: str) -> list[Part]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise HostError(f"the guest agent does not say which {what} there are")
    return value


def known_commands(answer: Any) -> set[str]:
    """What an agent can do that is not forbidden to it."""
    listed = parts(answer.get("supported_commands") if isinstance(answer, dict) else None, "commands")
    return {word(each.get("name")) for each in listed if each.get("enabled") is True}


def named(prefix: str, known: Part, names: Mapping[str, str]) -> dict[str, str]:
    """All of them by their names here, and `-` for what the agent does not tell."""
    return {f"{prefix}.{name}": word(known.get(key)) for key, name in names.items()}


def told(prefix: str, known: Part, names: Mapping[str, str]) -> dict[str, str]:
    """Those that the agent tells, by their names here."""
    return {f"{prefix}.{name}": word(known[key]) for key, name in names.items() if key in known}


def numbered(prefix: str, each_of: Sequence[Part], tell: Callable[[str, Part], dict[str, str]]) -> dict[str, str]:
    """How many there are, and each as `tell` has it under its own prefix."""
    found = {f"{prefix}.count": str(len(each_of))}
    for index, each in enumerate(each_of):
        found |= tell(f"{prefix}.{index}", each)
    return found


def flat_users(answer: Any) -> dict[str, str]:
    def one(at: str, user: Part) -> dict[str, str]:
        found = {f"{at}.name": word(user.get("user"))} | told(at, user, {"domain": "domain"})
        login = user.get("login-time")
        return found | ({f"{at}.login-time": str(int(login * 1000))} if isinstance(login, int | float) else {})

    return numbered("user", parts(answer, "users"), one)


def flat_os(answer: Any) -> dict[str, str]:
    names = (
        *("id", "name", "pretty-name", "version", "version-id", "machine", "variant", "variant-id"),
        *("kernel-release", "kernel-version"),
    )
    known = answer if isinstance(answer, dict) else {}
    return told("os", known, {each: each for each in names})


def flat_timezone(answer: Any) -> dict[str, str]:
    known = answer if isinstance(answer, dict) else {}
    return told("timezone", known, {"zone": "name"}) | {"timezone.offset": word(known.get("offset"))}


def flat_host_name(answer: Any) -> dict[str, str]:
    return {"hostname": word(answer.get("host-name") if isinstance(answer, dict) else None)}


def flat_file_systems(answer: Any, machine: Disks) -> dict[str, str]:
    def disk_of(at: str, disk: Part) -> dict[str, str]:
        return alias(at, machine.target(disk)) | told(at, disk, {"serial": "serial", "dev": "device"})

    def one(at: str, each: Part) -> dict[str, str]:
        found = named(at, each, {"name": "name", "mountpoint": "mountpoint", "type": "fstype"})
        found |= told(at, each, {"total-bytes": "total-bytes", "used-bytes": "used-bytes"})
        return found | numbered(f"{at}.disk", parts(each.get("disk", []), "disks"), disk_of)

    return numbered("fs", parts(answer, "file systems"), one)


def alias(prefix: str, target: str | None) -> dict[str, str]:
    return {} if target is None else {f"{prefix}.alias": target}


def flat_disks(answer: Any, machine: Disks) -> dict[str, str]:
    def one(at: str, each: Part) -> dict[str, str]:
        found = {
            f"{at}.name": word(each.get("name")),
            f"{at}.partition": "yes" if each.get("partition") is True else "no",
        }
        needs: Sequence[Any] = each["dependencies"] if isinstance(each.get("dependencies"), list) else ()
        if needs:
            found[f"{at}.dependency.count"] = str(len(needs))
        found |= {f"{at}.dependency.{place}.name": word(need) for place, need in enumerate(needs)}
        address = each.get("address")
        found |= told(at, address if isinstance(address, dict) else {}, {"serial": "serial"})
        return found | alias(at, machine.target(address)) | told(at, each, {"alias": "guest_alias"})

    return numbered("disk", parts(answer, "disks"), one)


def flat_interfaces(answer: Any) -> dict[str, str]:
    def address_of(at: str, each: Part) -> dict[str, str]:
        return named(at, each, {"ip-address-type": "type", "ip-address": "addr", "prefix": "prefix"})

    def one(at: str, each: Part) -> dict[str, str]:
        found = {f"{at}.name": word(each.get("name"))} | told(at, each, {"hardware-address": "hwaddr"})
        return found | numbered(f"{at}.addr", parts(each.get("ip-addresses", []), "addresses"), address_of)

    return numbered("if", parts(answer, "interfaces"), one)


Flat = Callable[[Any, Disks], dict[str, str]]


def plain(flat: Callable[[Any], dict[str, str]]) -> Flat:
    """Of what has nothing to do with disks."""
    return lambda answer, _: flat(answer)


KINDS: dict[str, tuple[str, Flat]] = {
    "user": ("guest-get-users", plain(flat_users)),
    "os": ("guest-get-osinfo", plain(flat_os)),
    "timezone": ("guest-get-timezone", plain(flat_timezone)),
    "hostname": ("guest-get-host-name", plain(flat_host_name)),
    "filesystem": ("guest-get-fsinfo", flat_file_systems),
    "disk": ("guest-get-disks", flat_disks),
    "interface": ("guest-network-get-interfaces", plain(flat_interfaces)),
}
"""What the agent is asked for each kind, and how its answer is told."""
