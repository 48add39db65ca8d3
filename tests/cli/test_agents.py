"""What a guest's agent tells and does, in virsh's words; the agent is scripted here."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Inn

from innkeeper.cli.machines import common, domhostname
from innkeeper.errors import HostError
from innkeeper.manager import agents
from innkeeper.manager.agent_answers import Disks
from innkeeper.testing.guests import SPIN, flat_guest

VIRTIO = {"bus-type": "virtio", "pci-controller": {"domain": 0, "bus": 0, "slot": 5, "function": 0}}
DISKS: list[dict[str, Any]] = [
    {"target": "vdc", "slot": 5, "serial": ""},  # which the guest calls vdb
    {"target": "sda", "slot": None, "serial": "same"},
    {"target": "sdb", "slot": None, "serial": "same"},
]
ANSWERS: dict[str, Any] = {
    "guest-get-time": 1_700_000_000_500_000_000,
    "guest-set-time": {},
    "guest-fsfreeze-freeze": 2,
    "guest-fsfreeze-freeze-list": 1,
    "guest-fsfreeze-thaw": 2,
    "guest-fstrim": {"paths": [{"path": "/", "trimmed": 5, "minimum": 0}]},
    "guest-get-fsinfo": [
        {"mountpoint": "/", "name": "vda1", "type": "ext4", "total-bytes": 100, "used-bytes": 40,
         "disk": [{"dev": "/dev/vda1", "serial": "A1"}]},
        {"mountpoint": "/home", "name": "vdb1", "type": "ext4", "disk": [{"dev": "/dev/vdb1"} | VIRTIO]},
    ],
    "guest-get-host-name": {"host-name": "inside"},
    "guest-network-get-interfaces": [
        {"name": "lo", "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "127.0.0.1", "prefix": 8}]},
        {"name": "eth0", "hardware-address": "52:54:00:00:00:01",
         "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "10.0.2.15", "prefix": 24},
                          {"ip-address-type": "ipv6", "ip-address": "fe80::1", "prefix": 64}]},
        {"name": "down"},
    ],
    "guest-get-users": [{"user": "root", "login-time": 5.5, "domain": "d"}],
    "guest-get-osinfo": {"id": "debian", "pretty-name": "Debian 12"},
    "guest-get-timezone": {"zone": "UTC", "offset": 0},
    "guest-get-disks": [
        {"name": "/dev/dm-0", "partition": False, "alias": "root", "dependencies": ["/dev/x"]},
        {"name": "/dev/vdb", "partition": False, "address": VIRTIO | {"serial": "B2"}},
    ],
    "guest-shutdown": {},
    "guest-set-user-password": {},
    "guest-ping": {},
}  # fmt: skip


class Script:
    """What the agent was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers = dict(ANSWERS)
        self.disks: list[dict[str, Any]] = DISKS

    def __call__(self, _path: Path, do: str, *, command: dict[str, Any] | None = None, **_: object) -> Any:
        if do == "devices":
            return {"disks": self.disks}
        assert do == "agent"
        assert command is not None
        self.asked.append(command)
        if command["execute"] == "guest-info":
            return {"supported_commands": [{"name": name, "enabled": True} for name in self.answers]}
        if command["execute"] not in self.answers:
            raise HostError(f"the guest agent cannot do {command['execute']}: no such thing")
        return self.answers[command["execute"]]


class Domains:
    """A machine that runs."""

    def running_name(self, name: str) -> str:
        return name

    def shutdown(self, _name: str) -> str:
        raise HostError("its guest hears no button")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(agents, "ask", script)
    monkeypatch.setattr(agents, "control_of", Path)
    monkeypatch.setattr(agents, "process_of", lambda _: 1)
    manager = Namespace(agents=agents.Agents(Domains()), domains=Domains(), close=lambda: None)  # type: ignore[arg-type]
    monkeypatch.setattr(common, "connect", lambda **_: manager)
    return script


def test_a_guests_time_is_told_and_set(inn: Inn, script: Script) -> None:
    assert inn("domtime web") == "Time: 1700000000\n\n"
    assert inn("virsh domtime web --pretty") == "Time: 2023-11-14 22:13:20\n\n"
    assert json.loads(inn("domtime web --json")) == {"seconds": 1700000000, "nseconds": 500000000}
    assert inn("domtime web --time 5") == inn("domtime web --sync") == inn("domtime web --now") == ""
    set_to = [each.get("arguments") for each in script.asked if each["execute"] == "guest-set-time"]
    assert set_to[:2] == [{"time": 5 * 10**9}, None]
    assert set_to[2] is not None
    assert set_to[2]["time"] > 1_700_000_000 * 10**9
    assert "exclude each other" in inn("domtime web --now --sync", status=2)


def test_file_systems_are_frozen_thawed_trimmed_and_shown(inn: Inn, script: Script) -> None:
    assert inn("domfsfreeze web") == "Froze 2 filesystem(s)\n\n"
    assert json.loads(inn("domfsfreeze web / /home --json")) == {"frozen": 1}
    assert script.asked[-1]["arguments"] == {"mountpoints": ["/", "/home"]}
    assert inn("domfsthaw web") == "Thawed 2 filesystem(s)\n\n"
    assert "thaws all file systems or none" in inn("domfsthaw web --mountpoint /", status=2)
    assert inn("domfstrim web --minimum 4096") == ""
    assert script.asked[-1]["arguments"] == {"minimum": 4096}
    script.answers["guest-fstrim"] = {"paths": [{"path": "/", "error": "not supported"}]}
    assert "/ in the guest is not trimmed: not supported" in inn("domfstrim web", status=2)
    rows = [line.split() for line in inn("domfsinfo web").splitlines()[2:4]]
    assert rows == [["/", "vda1", "ext4", "/dev/vda1"], ["/home", "vdb1", "ext4", "vdc"]]
    assert json.loads(inn("domfsinfo web --json"))[0]["used"] == 40


def test_names_and_addresses_are_the_guests_own(inn: Inn, script: Script) -> None:
    assert inn("domhostname web --source agent") == "inside\n\n"
    assert "it can be agent or lease" in inn("domhostname web --source dns", status=2)
    rows = inn("virsh domifaddr web --source agent").splitlines()[2:]
    assert [row.split() for row in rows if row] == [
        ["lo", "ipv4", "127.0.0.1/8"],
        ["eth0", "52:54:00:00:00:01", "ipv4", "10.0.2.15/24"],
        ["-", "-", "ipv6", "fe80::1/64"],
    ]
    assert len(json.loads(inn("domifaddr web eth0 --source agent --json"))) == 2
    script.answers["guest-network-get-interfaces"] = {"nonsense": 1}
    assert "does not say which interfaces there are" in inn("domifaddr web --source agent", status=2)


def test_leases_have_names_too(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    mac, other = "52:54:00:00:00:01", "52:54:00:00:00:02"
    cards: list[dict[str, object]] = [{"mac": other, "leases": []}, {"mac": mac, "leases": [(mac, "10.0.2.15", None)]}]
    manager = Namespace(hardware=Namespace(cards=lambda _: cards), close=lambda: None)
    monkeypatch.setattr(common, "connect", lambda **_: manager)
    monkeypatch.setattr(domhostname, "LEASES", ())
    assert "no lease says what the guest of web is called" in inn("domhostname web --source lease", status=2)
    cards[1]["leases"] = [(other, "10.0.2.15", "another"), (mac, "10.0.2.15", "inside")]
    assert inn("virsh domhostname web --source lease") == "inside\n\n"
    assert json.loads(inn("domhostname web --source lease --json")) == {"hostname": "inside"}


def test_all_that_is_known_is_told(inn: Inn, script: Script) -> None:
    said = dict(line.split(": ", 1) for line in inn("guestinfo web").splitlines() if line)
    found = {key.strip(): value for key, value in said.items()}
    assert found["user.0.login-time"] == "5500"
    assert found["os.pretty-name"] == "Debian 12"
    assert found["fs.0.disk.0.serial"] == "A1"
    assert "fs.0.disk.0.alias" not in found  # which it is among the machine's is not to be known
    assert found["fs.1.disk.0.alias"] == found["disk.1.alias"] == "vdc"
    assert (found["disk.0.guest_alias"], found["disk.1.serial"]) == ("root", "B2")
    assert found["if.1.addr.1.prefix"] == "64"
    assert found["disk.0.dependency.0.name"] == "/dev/x"
    assert json.loads(inn("guestinfo web --timezone --json")) == {"timezone.name": "UTC", "timezone.offset": "0"}
    del script.answers["guest-get-disks"]
    assert "\ndisk.count" not in inn("guestinfo web")
    assert "cannot do guest-get-disks" in inn("virsh guestinfo web --disk", status=1)


@pytest.mark.parametrize(
    ("told", "target"),
    [
        ({"serial": "A1"}, "sda"),
        ({"serial": "same"}, None),
        (VIRTIO | {"serial": "A1"}, "vdc"),
        (VIRTIO | {"pci-controller": {"domain": 0, "bus": 1, "slot": 5, "function": 0}}, None),
        (VIRTIO | {"pci-controller": {"domain": 0, "bus": 0, "slot": [5], "function": 0}}, None),
        (VIRTIO | {"bus-type": "scsi"}, None),
        ({"serial": ["A1"], "pci-controller": 3}, None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_a_disk_is_that_at_the_address_or_of_the_serial_number_that_a_guest_tells(
    told: object, target: str | None
) -> None:
    disks: Any = [*DISKS, {"target": "sda", "slot": None, "serial": "A1"}]
    assert Disks(disks).target(told) == target


def test_a_guest_is_ended_by_the_way_that_works(inn: Inn, script: Script) -> None:
    assert inn("shutdown web --mode agent") == "Domain 'web' is being shutdown\n\n"
    assert script.asked[-1] == {"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}}
    assert inn("reboot web --mode agent") == "Domain 'web' is being rebooted\n\n"
    assert inn("shutdown web --mode acpi,agent") == "Domain 'web' is being shutdown\n\n"
    assert "hears no button" in inn("shutdown web", status=2)
    assert "mode is signal; guests here can be reached by" in inn("shutdown web --mode signal", status=2)


def test_commands_are_given_in_the_agents_own_words(inn: Inn, script: Script) -> None:
    assert inn('qemu-agent-command web {"execute":"guest-ping"}') == '{"return": {}}\n\n'
    assert inn('virsh qemu-agent-command web --timeout 5 --pretty {"execute": "guest-get-time"}').splitlines()[0] == "{"
    assert "the command is no JSON" in inn("qemu-agent-command web {", status=2)
    assert "that says what to execute" in inn("qemu-agent-command web []", status=2)
    assert "it must be at least 1 s" in inn("qemu-agent-command web --timeout 0 {}", status=2)
    inn("set-user-password web root secret")
    assert script.asked[-1]["arguments"] == {"username": "root", "password": "c2VjcmV0", "crypted": False}


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ("", "the machine has no channel for a guest agent: add <channel"),
        (
            "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>",
            "the guest agent is not connected: install qemu-guest-agent in the guest",
        ),
    ],
)
def test_a_machine_without_an_agent_says_what_it_needs(user: Path, inn: Inn, channel: str, said: str) -> None:
    (user / "guest").write_bytes(flat_guest(SPIN))
    os_part = f"<os><type>hvm</type><kernel>{user}/guest</kernel></os>"
    (user / "web.xml").write_text(
        f"<domain type='bt'><name>web</name><memory unit='MiB'>16</memory>{os_part}<devices>{channel}</devices></domain>"
    )
    inn(f"define {user}/web.xml")
    inn("start web")
    for verb in ("domtime", "domhostname", "domfsfreeze", "domfsinfo", "guestinfo --os"):
        assert said in inn(f"{verb} web", status=2)
    assert said in inn("shutdown web --mode agent", status=2)
    if channel:  # what is there is saved too
        inn("managedsave web")
        inn("start web")
        assert said in inn("domtime web", status=2)
    inn("destroy web")
    assert "machine web does not run" in inn("domtime web", status=2)
