"""Networks on a host of their own: what is there, what passes, and what is left whatever happens to whoever makes them."""

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.namespaces import Namespace, skip_unless_possible
from tests.net.host.looking import Seen

from innkeeper.testing.guests import SPIN, flat_guest

pytestmark = pytest.mark.slow

INN = (sys.executable, "-m", "innkeeper.cli")
NAT = ("net", "create", "br0", "--address", "10.0.2.1/24", "--address", "fd00:2::1/64")


@pytest.fixture
def host() -> Iterator[Namespace]:
    skip_unless_possible("nft", "dnsmasq")
    with Namespace() as host:
        yield host


def inn(host: Namespace, *words: str, status: int = 0, given: str = "") -> str:
    done = host.run(*INN, *words, check=False, given=given)
    assert done.returncode == status, (words, done.stdout, done.stderr)
    return done.stdout if status == 0 else done.stderr


def state(host: Namespace) -> Seen:
    found: Seen = json.loads(host.run(sys.executable, "-m", "tests.net.host.looking").stdout)
    return found


def servers(host: Namespace) -> list[int]:
    """The processes of DHCP and DNS."""
    found = []
    for process in host.processes():
        with suppress(OSError):
            if "dnsmasq" in Path(f"/proc/{process}/cmdline").read_text():
                found.append(process)
    return found


def test_starting_twice_is_starting_once_and_ending_leaves_nothing(host: Namespace) -> None:
    before = state(host)
    inn(host, *NAT)
    there = state(host)
    assert there["links"] == {"lo": ["127.0.0.1", "::1"], "br0": ["10.0.2.1", "fd00:2::1"]}
    assert "masquerade" in str(there["rules"])
    assert there["forwarding"] == ["1", "1"]
    assert len(there["servers"]) == 1
    inn(host, "net-start", "br0")
    inn(host, *NAT)
    assert state(host) == there
    inn(host, "net-destroy", "br0")
    assert state(host) == before
    assert "network br0 is not active" in inn(host, "net-destroy", "br0", status=2)


def test_what_was_broken_is_whole_after_another_start(host: Namespace) -> None:
    inn(host, *NAT)
    there = state(host)
    host.shell(
        "nft flush ruleset; ip link set br0 down; ip address flush dev br0; echo 0 > /proc/sys/net/ipv4/ip_forward"
    )
    for process in servers(host):
        os.kill(process, signal.SIGKILL)
    inn(host, "net-start", "br0")
    assert state(host) == there
    host.shell("ip link delete br0")
    assert "inactive" in inn(host, "net-list", "--all")
    inn(host, "net-start", "br0")
    assert state(host)["links"] == there["links"]
    host.shell("ip link delete br0")
    inn(host, "net-destroy", "br0")
    assert state(host)["rules"] == ""


def test_rules_and_forwarding_of_others_stay_as_they_are(host: Namespace) -> None:
    host.shell("nft add table ip theirs; nft add chain ip theirs c '{ type nat hook postrouting priority 100; }'")
    host.shell("nft add rule ip theirs c ip saddr 192.0.2.0/24 masquerade")
    theirs = host.run("nft", "list", "ruleset").stdout
    inn(host, *NAT)
    assert theirs in host.run("nft", "list", "ruleset").stdout
    done = host.run(*INN, "net-destroy", "br0")
    assert host.run("nft", "list", "ruleset").stdout == theirs
    assert "the host goes on forwarding" in done.stderr  # theirs may count on it


def test_forwarding_stays_for_the_network_that_is_left_and_goes_with_the_last(host: Namespace) -> None:
    forwarding = "cat /proc/sys/net/ipv4/ip_forward"
    inn(host, "net", "create", "br0", "--address", "10.0.2.1/24")
    inn(host, "net", "create", "br1", "--address", "10.0.3.1/24")
    inn(host, "net-destroy", "br0")
    assert host.shell(forwarding) == "1\n"
    inn(host, "net-destroy", "br1")
    assert host.shell(forwarding) == "0\n"
    host.shell("echo 1 > /proc/sys/net/ipv4/ip_forward")
    inn(host, "net-start", "br0")
    inn(host, "net-destroy", "br0")
    assert host.shell(forwarding) == "1\n"  # it was so before us


def test_what_passes(host: Namespace) -> None:
    with Namespace() as outside, Namespace() as machine:
        host.wire("eth0", outside, "wire")
        host.shell("ip address add 198.51.100.1/24 dev eth0")
        outside.shell("ip address add 198.51.100.2/24 dev wire; ip route add 10.0.2.0/24 via 198.51.100.1")
        host.wire("port", machine, "eth0")
        machine.shell("ip address add 10.0.2.9/24 dev eth0; ip route add default via 10.0.2.1")
        for mode, out, into in (("nat", True, False), ("route", True, True), ("isolated", False, False)):
            inn(host, "net", "create", mode, "--bridge", "br0", "--address", "10.0.2.1/24", "--mode", mode)
            host.shell("ip link set port master br0")
            machine.shell("ip neighbour flush all")  # another network's bridge is another
            assert machine.reaches("10.0.2.1")
            assert machine.reaches("198.51.100.2") is out, mode
            assert outside.reaches("10.0.2.9") is into, mode
            said = host.run(*INN, "net-destroy", mode).stderr
            assert f"unplugged until {mode} is started again: port" in said
        inn(host, "net-start", "nat")
        machine.shell("ip neighbour flush all")
        assert machine.reaches("198.51.100.2")  # it was plugged in again


def test_ipv6_is_advertised_and_routed(host: Namespace) -> None:
    with Namespace() as machine:
        inn(host, "net", "create", "br0", "--address", "10.0.2.1/24", "--address", "fd00:2::1/64")
        host.wire("port", machine, "eth0")
        host.shell("ip link set port master br0")
        deadline = time.monotonic() + 30
        while "fd00:2::" not in (there := machine.run("ip", "-6", "address").stdout):
            assert time.monotonic() < deadline, there
            time.sleep(0.1)
        while not machine.reaches("fd00:2::1"):
            assert time.monotonic() < deadline, there
        assert "default via fe80:" in machine.run("ip", "-6", "route").stdout


@pytest.mark.parametrize("policy", ["nft", "iptables"])
def test_a_firewall_that_drops_what_it_does_not_know_lets_us_pass(host: Namespace, policy: str) -> None:
    if policy == "nft":
        for hook in ("forward", "input"):
            host.shell(
                f"nft add table inet fw; nft add chain inet fw {hook} '{{ type filter hook {hook} priority 0; policy drop; }}'"
            )
        theirs = "nft list ruleset"
    else:
        skip_unless_possible("iptables")
        host.shell("iptables -P FORWARD DROP; iptables -P INPUT DROP; iptables -A FORWARD -i eth7 -j ACCEPT")
        theirs = "iptables -S"
    before = host.shell(theirs)
    with Namespace() as outside, Namespace() as machine:
        host.wire("eth0", outside, "wire")
        host.shell("ip address add 198.51.100.1/24 dev eth0")
        outside.shell("ip address add 198.51.100.2/24 dev wire")
        done = host.run(*INN, "net", "create", "br0", "--address", "10.0.2.1/24")
        assert "it lets br0 pass now" in done.stderr
        inn(host, "net-start", "br0")
        host.wire("port", machine, "eth0")
        host.shell("ip link set port master br0")
        machine.shell("ip address add 10.0.2.9/24 dev eth0; ip route add default via 10.0.2.1")
        assert machine.reaches("198.51.100.2")
        inn(host, "net-destroy", "br0")
    assert host.shell(theirs) == before


def test_what_is_somebody_elses_is_refused(host: Namespace) -> None:
    host.shell(
        "ip link add br0 type bridge; ip link add d0 type veth peer name d1; ip address add 10.0.2.77/24 dev d0; ip link set d0 up"
    )
    before = state(host)
    assert "br0 is a bridge that somebody else made" in inn(host, *NAT, status=2)
    assert "this host reaches 10.0.2.0/24 by d0" in inn(
        host, "net", "create", "br1", "--address", "10.0.2.1/24", status=2
    )
    assert state(host) == before
    inn(host, "net", "create", "theirs", "--mode", "bridge", "--bridge", "br0")
    assert "active" in inn(host, "net-list")
    inn(host, "net-destroy", "theirs")
    assert "br0" in state(host)["links"]


def test_a_server_that_cannot_start_takes_everything_back(host: Namespace) -> None:
    holder = subprocess.Popen(
        host.inside(
            sys.executable,
            "-c",
            "import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 67)); "
            "print('there', flush=True); time.sleep(60)",
        ),
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        before = state(host)
        assert "no DHCP and DNS on br0: dnsmasq: failed to bind DHCP server socket" in inn(host, *NAT, status=2)
        assert state(host) == before
        assert "there is no network 'br0'" in inn(host, "net-info", "br0", status=2)
        holder.kill()


def test_whoever_is_killed_leaves_what_the_next_start_or_end_mends(host: Namespace) -> None:
    inn(host, *NAT, "--no-start")
    said = host.run(sys.executable, "-m", "tests.net.host.killed").stdout
    assert said == "start: 10 steps\ndestroy: 10 steps\n"


def test_a_manager_that_is_killed_at_any_moment(host: Namespace) -> None:
    inn(host, *NAT)
    there = state(host)
    seed = random.randrange(1 << 30)
    chance = random.Random(seed)
    for _ in range(6):
        verb = chance.choice(["net-start", "net-destroy"])
        process = subprocess.Popen(host.inside(*INN, verb, "br0"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.1, 0.6))
        host.run("sh", "-c", "kill -9 $(cat /run/own/innkeeper/manager.lock)", check=False)
        process.wait()
    inn(host, "net-start", "br0")
    assert state(host) == there, seed
    inn(host, "net-destroy", "br0")
    assert state(host)["rules"] == "", seed


JOIN = """
import sys
from innkeeper.config import NetworkConfig, NetworkKind
from innkeeper.net import open_link
opened = [open_link(NetworkConfig(kind=NetworkKind.BRIDGE, name="br0"), bytes(6)) for _ in range(3)]
for it in opened: print(it.described)
"""
USER = 12345


def test_a_users_machines_join_by_taps_that_root_made_for_them(host: Namespace) -> None:
    host.shell("mknod -m 666 /run/tun c 10 200; mount --bind /run/tun /dev/net/tun; chmod 711 /run/own")
    inn(host, "net", "create", "br0", "--address", "10.0.2.1/24")
    as_user = ("setpriv", f"--reuid={USER}", "--clear-groups", sys.executable, "-c", JOIN)
    said = host.run(*as_user).stdout
    assert (
        said.count(f"in place of bridge br0, where this user has no free tap; once: sudo inn net tap br0 --user {USER}")
        == 3
    )
    inn(host, "net", "tap", "br0", "--user", str(USER), "--count", "2")
    for _ in range(2):  # those of whoever has ended are free again
        joined = host.run(*as_user).stdout.splitlines()
        assert ["which root made for this user" in it for it in joined] == [True, True, False]
    assert "2 taps removed" in inn(host, "net", "tap", "br0", "--remove")
    host.run(*INN, "net-start", "br0", "--user", str(USER))
    assert len(state(host)["links"]) == 10  # lo, br0 and eight taps
    inn(host, "net-destroy", "br0")
    assert list(state(host)["links"]) == ["lo"]


def test_long_frames_pass_where_the_network_has_them(host: Namespace) -> None:
    inn(host, "net", "create", "br0", "--address", "10.0.2.1/24", "--mtu", "9000")
    inn(host, "net", "tap", "br0", "--user", str(USER), "--count", "1")
    look = "\nimport subprocess; print(subprocess.run(['ip', '-j', 'link'], capture_output=True, text=True).stdout)"
    links = json.loads(host.run(sys.executable, "-c", JOIN + look).stdout.strip().splitlines()[-1])
    assert [it["mtu"] for it in links if it["ifname"].startswith("inn")] == [9000] * 4  # root's own, and the user's
    assert [it["mtu"] for it in links if it["ifname"] == "br0"] == [9000]


def test_machines_of_two_networks_do_not_reach_each_other(host: Namespace) -> None:
    with Namespace() as one, Namespace() as two:
        for number, machine in ((3, one), (4, two)):
            inn(host, "net", "create", f"br{number}", "--address", f"10.0.{number}.1/24")
            host.wire(f"port{number}", machine, "eth0")
            host.shell(f"ip link set port{number} master br{number}")
            machine.shell(f"ip address add 10.0.{number}.9/24 dev eth0; ip route add default via 10.0.{number}.1")
        assert one.reaches("10.0.3.1")
        assert not one.reaches("10.0.4.9")


def test_hosts_are_told_to_a_server_that_runs(host: Namespace) -> None:
    inn(host, "net", "create", "br0", "--address", "10.0.2.1/24", "--domain", "inn.test")
    [server] = servers(host)
    entry = "<host mac='52:54:00:00:00:01' name='web' ip='10.0.2.50'/>"
    inn(host, "net-update", "br0", "add", "ip-dhcp-host", entry, "--live", "--config")
    inn(host, "net-update", "br0", "add", "dns-host", "<host ip='10.0.2.60'><hostname>db</hostname></host>", "--live")
    ask = f"{sys.executable} -c \"import socket; print(socket.gethostbyname('%s.inn.test'))\""
    host.shell("echo nameserver 10.0.2.1 > /run/resolv.conf; mount --bind /run/resolv.conf /etc/resolv.conf")
    assert host.shell(ask % "web") == "10.0.2.50\n"
    assert host.shell(ask % "db") == "10.0.2.60\n"
    assert servers(host) == [server]


ALICE = "alice:x:12345:12345::/run/alice:/bin/sh"
HER_HOST = """
cat /etc/passwd > /run/passwd; echo "$1" >> /run/passwd; mount --bind /run/passwd /etc/passwd
mkdir -p -m 700 /run/alice /run/user/12345; chown 12345 /run/alice /run/user/12345
mknod -m 666 /run/tun c 10 200; mount --bind /run/tun /dev/net/tun
shift
for path; do  # what root runs is there for her too, though it may be in root's own folder
    top=$(echo "$path" | cut -d / -f 2); below=$(echo "$path" | cut -d / -f 3)
    [ "$(stat -c %a "/$top")" = 700 ] || continue
    mkdir "/run/$top"; mount --bind "/$top" "/run/$top"; mount -t tmpfs -o mode=755 none "/$top"
    mkdir "/$top/$below"; mount --bind "/run/$top/$below" "/$top/$below"
done
"""


def test_root_is_needed_once_and_finds_what_a_user_defined(host: Namespace) -> None:
    host.run("sh", "-ec", HER_HOST, "sh", ALICE, os.path.realpath(sys.executable))
    her = ("HOME=/run/alice", "XDG_STATE_HOME=", "XDG_RUNTIME_DIR=/run/user/12345")
    alice = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "env", *her)
    denied = host.run(*alice, *INN, "net", "create", "br0", "--address", "10.0.2.1/24", check=False)
    if "ermission denied" in denied.stderr:
        pytest.skip("python is not there for other users")
    assert denied.returncode == 2
    assert "making bridge br0 needs root: run `sudo inn net-start br0` once" in denied.stderr
    host.run("env", "SUDO_UID=12345", *INN, "net-start", "br0")
    assert "active" in host.run(*alice, *INN, "net-list").stdout
    joined = host.run(*alice, sys.executable, "-c", JOIN).stdout.splitlines()
    assert ["which root made for this user" in it for it in joined] == [True, True, True]
    started = spinning(host, alice)
    assert "a card is on the built-in network, in place of network default, which is not active" in started
    assert "br0" not in started
    assert "ending network br0 needs root" in host.run(*alice, *INN, "net-destroy", "br0", check=False).stderr
    inn(host, "net-destroy", "br0")
    assert list(state(host)["links"]) == ["lo"]
    assert "br0" in host.run(*alice, *INN, "net-list", "--all").stdout
    assert "br0" not in host.run(*INN, "net-list", "--all").stdout


def spinning(host: Namespace, user: tuple[str, ...]) -> str:
    """What is said when a user starts a machine, which then is ended again."""
    kernel = base64.b64encode(flat_guest(SPIN)).decode()
    host.run("sh", "-c", "base64 -d > /run/flat && chmod 644 /run/flat", given=kernel)
    cards = "".join(f"<interface type='network'><source network='{name}'/></interface>" for name in ("br0", "default"))
    xml = "<domain type='qemu'><name>spinning</name><memory unit='MiB'>64</memory><os><kernel>/run/flat</kernel></os>"
    host.run("sh", "-c", "cat > /run/spinning.xml", given=f"{xml}<devices>{cards}</devices></domain>")
    host.run(*user, *INN, "define", "/run/spinning.xml")
    said = host.run(*user, *INN, "start", "spinning").stderr
    host.run(*user, *INN, "destroy", "spinning")
    return said
