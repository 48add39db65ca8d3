"""Links on the host: the built-in network, passt, and what is said where the host refuses."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.config import ForwardConfig, NetworkConfig, NetworkKind, UserBackend
from innkeeper.errors import HostError
from innkeeper.net import open_link, stable_mac
from innkeeper.net.host import realise
from innkeeper.net.passt import ports

MAC = bytes.fromhex("525400000001")


def user(*forwards: ForwardConfig) -> NetworkConfig:
    return NetworkConfig(forwards=forwards)


def test_addresses_are_stable_and_each_cards_own() -> None:
    macs = [stable_mac(["host", "kernel"], index) for index in range(8)]

    assert macs == [stable_mac(["host", "kernel"], index) for index in range(8)]
    assert len({*macs, stable_mac(["hostk", "ernel"], 0)}) == 9
    assert all(mac.startswith(b"\x52\x54\x00") for mac in macs)


def test_a_forward_listens_until_the_link_is_closed() -> None:
    opened = open_link(user(ForwardConfig(port=0, guest_port=22)), MAC)
    [(host, port)] = opened.link.forwarded
    assert "built-in" in opened.described
    assert f"127.0.0.1:{port} leads to the guest's port 22" in opened.described

    socket.create_connection((host, port)).close()
    opened.close()

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port))


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(HostError, match=f"cannot forward from 127.0.0.1:{port}: address already in use"):
            open_link(user(ForwardConfig(port=port, guest_port=22)), MAC)


def test_a_bridge_that_is_not_there_is_named_with_the_next_step() -> None:
    if not realise.may_change():
        pytest.skip("without root the built-in network takes its place")
    with pytest.raises(HostError, match="make it with: inn net create nobridge0 --address"):
        open_link(NetworkConfig(kind=NetworkKind.BRIDGE, name="nobridge0"), MAC)


def test_without_rights_the_built_in_network_takes_a_bridges_place_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realise, "may_change", lambda: False)
    opened = open_link(NetworkConfig(kind=NetworkKind.BRIDGE, name="nobridge0"), MAC)
    opened.close()
    assert "built-in address translation, in place of bridge nobridge0, which is not there" in opened.described
    assert "sudo inn net create nobridge0" in opened.described
    assert opened.note.startswith("a card is on the built-in network, in place of bridge nobridge0")


def test_forwards_are_passts_too() -> None:
    options = ports((ForwardConfig(port=2222, guest_port=22),))

    assert options == ["--udp-ports", "none", "--tcp-ports", "127.0.0.1/2222:22"]


def test_passt_is_started_and_ended() -> None:
    if shutil.which("passt") is None:
        pytest.skip("no passt (package passt)")
    opened = open_link(NetworkConfig(backend=UserBackend.PASST), MAC)
    assert "passt" in opened.described

    opened.close()

    assert subprocess.run(["pgrep", "-P", str(os.getpid()), "passt"], check=False, capture_output=True).stdout == b""


IN_A_NAMESPACE = """
import subprocess, sys
from pathlib import Path
from innkeeper.config import NetworkConfig, NetworkKind
from innkeeper.errors import HostError
from innkeeper.net import open_link
run = lambda *words: subprocess.run(words, check=True, capture_output=True)
mac = bytes(6)
run("ip", "link", "add", "br9", "type", "bridge")
before = {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines() if ":" in line}
def interfaces():
    return {line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines() if ":" in line}
tap = open_link(NetworkConfig(kind=NetworkKind.TAP, name="mytap"), mac)
assert interfaces() - before == {"mytap"}, interfaces()
try:
    open_link(NetworkConfig(kind=NetworkKind.TAP, name="mytap"), mac)
except HostError as error:
    assert "another program has it" in str(error), error
else:
    sys.exit("two have the same tap")
tap.close()
assert interfaces() == before
bridged = open_link(NetworkConfig(kind=NetworkKind.BRIDGE, name="br9"), mac)
[name] = interfaces() - before
assert name in bridged.described and name.startswith("inn"), bridged.described
assert name in run("ip", "-o", "link", "show", "master", "br9").stdout.decode()
bridged.close()
assert interfaces() == before
try:
    open_link(NetworkConfig(kind=NetworkKind.BRIDGE, name="lo"), mac)
except HostError as error:
    assert "it is no bridge" in str(error), error
else:
    sys.exit("lo is no bridge")
assert interfaces() == before
"""


def test_a_tap_interface_is_made_and_goes_with_us() -> None:
    if not Path("/dev/net/tun").exists() or shutil.which("unshare") is None:
        pytest.skip("no /dev/net/tun")
    command = ["unshare", "--net", "--map-root-user", sys.executable, "-c", IN_A_NAMESPACE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "unshare failed" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("no network namespaces for us")

    assert done.returncode == 0, done.stderr
