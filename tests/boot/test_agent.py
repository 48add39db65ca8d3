"""Debian's qemu-guest-agent in a stock kernel, over the channel: time, names, addresses, file systems, an end."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper import ImageError
from innkeeper.config import MachineConfig, NetworkConfig
from innkeeper.console import MemoryConsole
from innkeeper.errors import HostError
from innkeeper.image import InitramfsRecipe, KernelImage, build_initramfs
from innkeeper.image.packages import PackageClient
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.machine.agent import Agent
from tests.boot.conftest import SHELL
from tests.boot.inn import APPEND, LIMIT_S
from tests.engines import fastest_software

pytestmark = pytest.mark.boot

PROMPT = b"/root # "
PROGRAM = "/bin/qemu-ga"
START = (
    f"hostname web; mkdir -p /sbin; ln -sf /bin/busybox /sbin/hwclock; mount -t tmpfs tmpfs /root; cd /root; {PROGRAM} -d -m virtio-serial -p /dev/$(ls /sys/class/virtio-ports) "
    "-t /tmp -f /tmp/ga.pid -l /tmp/ga.log"
)


def with_libraries(program: Path) -> list[tuple[Path, str]]:
    """A program and what it is linked to on this host, in their places."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    if "not found" in told:
        pytest.skip(f"this host has not all libraries of {program.name}: {told}")
    places = re.findall(r"(/\S+) \(", told)
    return [(program, PROGRAM), *((Path(place).resolve(), place) for place in places)]


@pytest.fixture(scope="module")
def archive(debian: KernelImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agent")
    init = folder / "init"
    init.write_text(f"#!/bin/sh\n. /etc/innkeeper/setup\n{SHELL}\n")
    client = PackageClient()
    try:
        program = client.unpack(client.find("qemu-guest-agent")) / "usr/sbin/qemu-ga"
        recipe = InitramfsRecipe(
            init=init,
            modules=("virtio_pci", "virtio_console", "virtio_net", "af_packet"),
            modules_directory=debian.modules,
            files=tuple(with_libraries(program)),
        )
        return build_initramfs(recipe, folder / "archive.cpio.gz")
    except ImageError as error:
        pytest.skip(f"no guest agent: {error}")


@pytest.fixture
def guest(debian: KernelImage, archive: Path) -> Iterator[tuple[Machine, MemoryConsole]]:
    config = MachineConfig(
        kernel=debian.vmlinuz,
        initrd=archive,
        append=f"{APPEND} quiet",
        engine=fastest_software(),
        timeout_s=LIMIT_S,
        agent=True,
        networks=(NetworkConfig(),),
    )
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(PROMPT, timeout_s=LIMIT_S)
        yield machine, console


def tell(console: MemoryConsole, command: str) -> str:
    console.send(command.encode() + b" ; echo D'ONE'\r")
    return console.wait_for(b"DONE\r\n" + PROMPT, timeout_s=60).decode(errors="replace")


def agent_of(machine: Machine) -> Agent:
    agent = machine.live.there().agent
    assert agent is not None
    return agent


def test_an_agent_tells_what_it_knows_and_ends_its_guest(guest: tuple[Machine, MemoryConsole]) -> None:
    machine, console = guest
    agent = agent_of(machine)
    with pytest.raises(HostError, match="the guest agent is not connected: install qemu-guest-agent in the guest"):
        agent.ask({"execute": "guest-ping"})
    assert "org.qemu.guest_agent.0" in tell(console, "cat /sys/class/virtio-ports/*/name")
    tell(console, f"ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; {START}")
    deadline = time.monotonic() + 60
    while not agent.connected:
        assert time.monotonic() < deadline, tell(console, "cat /tmp/ga.log")
        time.sleep(0.05)

    assert agent.ask({"execute": "guest-ping"}) == {}
    assert agent.ask({"execute": "guest-get-host-name"}) == {"host-name": "web"}
    agent.ask({"execute": "guest-set-time", "arguments": {"time": 1_700_000_000 * 10**9}})
    assert 0 <= agent.ask({"execute": "guest-get-time"}) // 10**9 - 1_700_000_000 < 60
    interfaces = {each["name"]: each for each in agent.ask({"execute": "guest-network-get-interfaces"})}
    assert interfaces["eth0"]["ip-addresses"][0]["ip-address"] == "10.0.2.15"
    with pytest.raises(HostError, match=r"the guest agent cannot do guest-nonsense: .*not been found"):
        agent.ask({"execute": "guest-nonsense"})
    assert len(agent.ask({"execute": "guest-info"})["supported_commands"]) > 20

    tell(console, "kill $(cat /tmp/ga.pid); sleep 1")
    assert not agent.connected
    tell(console, START)
    while not agent.connected:
        time.sleep(0.05)
    # Its init obeys no signal of shutdown(8), which is not here either: what counts is that the guest was asked.
    tell(
        console,
        "printf '#!/bin/sh\\npoweroff -f\\n' > /sbin/shutdown; chmod +x /sbin/shutdown",
    )
    agent.ask({"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}})
    assert machine.wait(60).kind is OutcomeKind.POWERED_OFF
