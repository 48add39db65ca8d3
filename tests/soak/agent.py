"""QEMU's guest agent in Debian, by virsh's verbs; file systems that are frozen while somebody writes; jobs on the disk meanwhile."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from innkeeper.errors import ImageError
from innkeeper.image.rootfs import RootfsRecipe, build_rootfs

from .console import ask, come_back, console, log_in, log_out
from .home import ANSWER_S, LOOK_S, Home
from .jobs import soak_jobs
from .report import say
from .within import Guest, Image

NAME, HOST, PASSWORD, SECOND, THIRD = "agented", "inside", "first word", "the second word", "a third one"
OLD = 1_700_000_000  # a moment long ago, in seconds since 1970
NEAR_S = 30.0
QUIET_S = 3.0
ADDRESS = "10.0.2.15/24"  # the user network's first
NUMBERS = "/root/numbers"
COUNTING = f"n=0; while [ -e {NUMBERS} ]; do n=$((n + 1)); echo $n >>{NUMBERS}; sync; done"


def soak_agent(arguments: argparse.Namespace, folder: Path) -> bool:
    disk = folder / "agent.raw"
    packages = ("qemu-guest-agent", "util-linux-extra")  # the latter has hwclock(8), which the agent runs
    try:
        build_rootfs(RootfsRecipe(password=PASSWORD, size_gib=2, packages=packages, hostname=HOST), disk)
    except ImageError as error:
        say("agent", f"left out, as no disk can be made here: {error}")
        return True
    home = Home(folder / "agent-home")
    overlay = f"{home.folder}/disk.qcow2,size=2,backing_store={disk},backing_format=raw"
    words = ["--name", NAME, "--memory", "1024", "--virt-type", arguments.engine.value, "--import", "--disk", overlay]
    guest = Guest(home, NAME)
    try:
        home.inn("virt-install", *words, "--graphics", "none", "--network", "user", "--noautoconsole")
        guest.wait_for_agent()
        for part in PARTS:
            begun = time.monotonic()
            part(guest, folder)
            say("agent", f"{part.__name__.replace('_', ' ')}: {time.monotonic() - begun:.0f} s")
    except AssertionError as error:
        say("agent", f"FAILS: {error}")
        return False
    finally:
        home.end(NAME)
    return True


# ---- what it tells and sets -----------------------------------------------------------------------


def what_it_tells(guest: Guest, _folder: Path) -> None:
    assert guest.inn("domhostname", "--source", "agent").strip() == HOST
    card = guest.told("domiflist")[0]
    deadline = time.monotonic() + ANSWER_S  # the agent may be there before DHCP's answer
    while (card["mac"], ADDRESS) not in (addresses := addresses_of(guest)):
        assert time.monotonic() < deadline, addresses
        time.sleep(LOOK_S)
    mounted = [(each["mountpoint"], each["type"]) for each in guest.told("domfsinfo")]
    assert mounted == [("/", "ext4")], mounted
    known = guest.told("guestinfo")
    release = guest.run("uname -r").strip()
    for name, value in {
        "os.id": "debian",
        "os.kernel-release": release,
        "hostname": HOST,
        "timezone.offset": "0",
        "fs.count": "1",
        "fs.0.mountpoint": "/",
        "user.count": "0",
    }.items():
        assert known.get(name) == value, f"{name} is {known.get(name)!r}, and not {value!r}, in {known}"
    assert card["mac"] in known.values(), known
    assert "/dev/vda" in known.values(), known
    assert f"{'os.id':<20}: debian" in guest.inn("guestinfo", "--os")


def addresses_of(guest: Guest) -> list[tuple[str, str]]:
    """Each with the card's."""
    return [(each["mac"], each["address"]) for each in guest.told("domifaddr", "--source", "agent")]


def another_password(guest: Guest, _folder: Path) -> None:
    """Given in words, and as guests keep it; each is that of a login, during which somebody is there."""
    guest.inn("set-user-password", "root", SECOND)
    with console(guest.home, NAME) as (line, _):
        come_back(line)
        log_in(line, HOST, SECOND)
        known = guest.told("guestinfo", "--user")
        assert (known["user.count"], known["user.0.name"]) == ("1", "root"), known
        coded = ask(line, f'perl -e \'print crypt("{THIRD}", "\\$6\\$innkeeper\\$")\'').strip()
        guest.inn("set-user-password", "root", coded, "--encrypted")
        log_out(line, HOST)
        line.type("\r")
        log_in(line, HOST, THIRD)
        log_out(line, HOST)
    guest.refuses("failed to set user password", "set-user-password", "nobodyatall", "word")


def time_of_day(guest: Guest, _folder: Path) -> None:
    """The guest's, and that of its real-time clock, which the agent sets with it."""
    near(guest.told("domtime")["seconds"], time.time())
    guest.inn("domtime", "--time", str(OLD))
    near(guest.told("domtime")["seconds"], OLD)
    near(int(guest.run("cat /sys/class/rtc/rtc0/since_epoch")), OLD)
    guest.inn("domtime", "--now")
    near(int(guest.run("date +%s")), time.time())
    near(int(guest.run("cat /sys/class/rtc/rtc0/since_epoch")), time.time())
    guest.run(f"date -s @{OLD}")
    near(guest.told("domtime")["seconds"], OLD)
    guest.inn("domtime", "--sync")
    near(guest.told("domtime")["seconds"], time.time())


def near(found: float, expected: float) -> None:
    assert abs(found - expected) < NEAR_S, f"it is {found:.0f}, and not about {expected:.0f}"


# ---- frozen -----------------------------------------------------------------------------------------


def frozen_by_hand(guest: Guest, folder: Path) -> None:
    """While somebody writes: nothing comes to the disk, and a snapshot has all of it up to there."""
    guest.run(f"echo 0 >{NUMBERS}")
    guest.begin(COUNTING)
    wait_for_writes(guest)
    with console(guest.home, NAME) as (line, _):
        come_back(line)
        log_in(line, HOST, THIRD)
        assert guest.inn("domfsfreeze").startswith("Froze 1 filesystem(s)")
        assert guest.agent("guest-fsfreeze-status") == "frozen"
        guest.refuses("frozen", "domhostname", "--source", "agent")
        before = written(guest)
        time.sleep(QUIET_S)
        assert written(guest) == before, "it writes although it is frozen"
        last = int(ask(line, f"tail -n1 {NUMBERS}"))
        kept = guest.image
        guest.inn("snapshot-create-as", "by-hand", "--disk-only")
        assert guest.inn("domfsthaw").startswith("Thawed 1 filesystem(s)")
        wait_for_writes(guest)
        log_out(line, HOST)
    numbers = clean_numbers(guest, kept, folder)
    assert numbers[-1] == last, f"the snapshot has {numbers[-1]} numbers; {last} were written when it was frozen"


def frozen_by_a_snapshot(guest: Guest, folder: Path) -> None:
    kept, at_least = guest.image, int(guest.run(f"tail -n1 {NUMBERS}"))
    guest.inn("snapshot-create-as", "quiet", "--disk-only", "--quiesce")
    assert guest.agent("guest-fsfreeze-status") == "thawed"
    wait_for_writes(guest)
    numbers = clean_numbers(guest, kept, folder)
    assert numbers[-1] >= at_least, f"the snapshot has {numbers[-1]} numbers; {at_least} were written before"


def not_frozen(guest: Guest, folder: Path) -> None:
    """What is seen above is not so anyway; and all of it comes together again, while somebody writes."""
    kept = guest.image
    guest.inn("snapshot-create-as", "torn", "--disk-only")
    assert Image(guest.home, kept, folder).must_be_replayed, "it is clean although nobody saw to it"
    for name in ("by-hand", "quiet", "torn"):
        guest.inn("snapshot-delete", name, "--metadata")
    first, *overlays = reversed([Path(name) for name in guest.chain[:-1]])
    wait_for_writes(guest)
    guest.inn("blockcommit", "vda", "--base", str(first), "--active", "--pivot", "--delete")
    assert guest.image == first, f"it is on {guest.image}, and not on {first}"
    assert not any(overlay.exists() for overlay in overlays), overlays
    wait_for_writes(guest)
    found = guest.run(f"mv {NUMBERS} {NUMBERS}.old; sleep 1; echo 3 >/proc/sys/vm/drop_caches; cat {NUMBERS}.old")
    check_numbers([int(line) for line in found.splitlines()])
    guest.inn("domfstrim")


def written(guest: Guest) -> int:
    return int(guest.told("domblkstat", "vda")["wr_req"])


def wait_for_writes(guest: Guest) -> None:
    before, deadline = written(guest), time.monotonic() + ANSWER_S
    while written(guest) < before + 10:
        assert time.monotonic() < deadline, "nobody writes"
        time.sleep(0.1)


def clean_numbers(guest: Guest, kept: Path, folder: Path) -> list[int]:
    image = Image(guest.home, kept, folder)
    image.check()
    numbers = [int(line) for line in image.read(NUMBERS).splitlines()]
    check_numbers(numbers)
    return numbers


def check_numbers(numbers: list[int]) -> None:
    assert numbers == list(range(len(numbers))), f"numbers are missing: {numbers[:5]} … {numbers[-5:]}"


# ---- the end ----------------------------------------------------------------------------------------


def an_end(guest: Guest, folder: Path) -> None:
    boot = guest.run("cat /proc/sys/kernel/random/boot_id")
    guest.inn("reboot", "--mode", "agent")
    deadline = time.monotonic() + 10 * ANSWER_S
    while True:
        guest.wait_for_agent()
        try:
            if guest.run("cat /proc/sys/kernel/random/boot_id") != boot:
                break
        except AssertionError as error:  # it goes down meanwhile
            say("agent", f"while it reboots: {error}")
        assert time.monotonic() < deadline, "it does not reboot"
        time.sleep(1)
    guest.inn("shutdown", "--mode", "agent")
    guest.home.wait_until(NAME, "shut off")
    Image(guest.home, guest.image, folder).check()


PARTS: tuple[Callable[[Guest, Path], None], ...] = (
    what_it_tells,
    another_password,
    time_of_day,
    frozen_by_hand,
    frozen_by_a_snapshot,
    not_frozen,
    soak_jobs,
    an_end,
)
