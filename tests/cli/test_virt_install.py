"""virt-install's options: what each makes of a machine, and the errors of those that cannot be had."""

from pathlib import Path
from unittest import mock

import pytest

from innkeeper.cli import main
from innkeeper.cli.installing.refused import REFUSED
from innkeeper.cli.installing.waiting import last_line
from innkeeper.config import (
    BalloonConfig,
    BootDevice,
    ConsoleKind,
    DiskBus,
    DiskCache,
    DiskDevice,
    DiskFormat,
    EngineChoice,
    FirmwareKind,
    InputKind,
    LinkState,
    MachineConfig,
    VideoModel,
)
from innkeeper.errors import EngineUnavailable
from innkeeper.image.iso9660 import write_disc
from innkeeper.manager import Definition, read_xml
from innkeeper.manager.definition import Action
from innkeeper.manager.installation import engines

SOME = ["--disk", "none", "--import"]


@pytest.fixture(autouse=True)
def folders(user: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(user / "data"))
    monkeypatch.chdir(user)
    return user


@pytest.fixture
def disc(folders: Path) -> Path:
    tree = {"vmlinuz": b"kernel", "initrd": b"initrd!!"}
    write_disc(folders / "installer.iso", "DEBIAN", tree)
    return folders / "installer.iso"


class Making:
    """Runs virt-install with `--print-xml`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *options: object, step: str = "1") -> Definition:
        assert main(["virt-install", "--name", "a", *map(str, options), "--print-xml", step]) == 0, self.error
        return read_xml(self._capsys.readouterr().out)

    def machine(self, *options: object) -> MachineConfig:
        return self(*SOME, *options).machine

    def refused(self, *options: object) -> str:
        assert main(["virt-install", "--name", "a", *map(str, options), "--dry-run"]) == 2
        return self.error

    @property
    def error(self) -> str:
        return self._capsys.readouterr().err


@pytest.fixture
def made(capsys: pytest.CaptureFixture[str]) -> Making:
    return Making(capsys)


def test_devices_are_what_their_options_say(made: Making, folders: Path) -> None:
    machine = made.machine(
        "--filesystem", f"{folders},files", "--vsock", "cid.auto=yes", "--input", "tablet,bus=virtio",
        "--input", "mouse,bus=ps2", "--video", "virtio", "--rng", "none", "--memory", "memory=512,currentMemory=256",
        "--serial", "file,path=s.log", "--console", "pty,target.type=virtio", "--console", "pty,target_type=serial",
        "--boot", f"kernel={__file__}",
    )  # fmt: skip
    assert [(each.source, each.target) for each in machine.filesystems] == [(folders, "files")]
    assert machine.vsock is not None
    assert (machine.vsock.cid, machine.inputs, machine.video) == (3, (InputKind.TABLET,), VideoModel.VIRTIO)
    assert (machine.rng, machine.balloon, machine.memory_mib) == (False, BalloonConfig(memory_mib=256), 512)
    assert (machine.console.kind, machine.console.path) == (ConsoleKind.FILE, folders / "s.log")
    assert [console.kind for console in machine.virtio_consoles] == [ConsoleKind.PTY]


def test_a_machine_has_what_is_usual_without_being_asked(made: Making) -> None:
    machine = made.machine()
    assert (machine.rng, machine.balloon) == (True, BalloonConfig())
    assert ([card.kind for card in machine.networks], len(machine.graphics)) == (["user"], 1)
    assert made.machine("--network", "none", "--nographics").networks == ()


def test_networks_by_other_words(made: Making) -> None:
    card, other = made.machine(
        "--network", "type=bridge,source=br0,model.type=e1000,mac.address=52:54:00:00:00:01,link.state=down",
        "--network", "bridge=br1,mac=RANDOM",
    ).networks  # fmt: skip
    assert (card.name, card.model, card.mac, card.link) == ("br0", "e1000", "52:54:00:00:00:01", LinkState.DOWN)
    assert other.name == "br1"
    assert other.mac is not None


def test_disks_by_other_words(made: Making, folders: Path) -> None:
    (folders / "a,b").write_bytes(bytes(512))
    disks = made(
        "--import", "--disk", f"'{folders}/a,b',target.bus=sata,driver.type=raw,driver.cache=none,driver.io=threads,serial=x",
        "--disk", "size=0.1,format=raw,shareable=off", "--disk", "device=cdrom",
    ).machine.disks  # fmt: skip
    assert (disks[0].path, disks[0].bus, disks[0].format) == (folders / "a,b", DiskBus.SATA, DiskFormat.RAW)
    assert (disks[0].cache, disks[0].serial) == (DiskCache.NONE, "x")
    assert disks[1].path == folders / "data/innkeeper/images/a.img"
    assert (disks[2].device, disks[2].path) == (DiskDevice.CDROM, None)


def test_the_first_start_is_the_installers(made: Making, disc: Path, folders: Path) -> None:
    options = ["--location", f"{disc},kernel=vmlinuz,initrd=initrd", "--extra-args", "auto=true", "--disk", "d,size=1"]
    first, kept = made(*options, step="1"), made(*options, step="2")
    place = folders / "state/innkeeper/installations/a"
    assert (first.machine.kernel, first.machine.initrd) == (place / "kernel", place / "initrd")
    assert (first.machine.append, first.on_reboot, first.on_poweroff) == ("auto=true", Action.DESTROY, Action.DESTROY)
    assert (kept.machine.kernel, kept.on_reboot) == (None, Action.RESTART)
    assert kept.machine.boot is not None
    assert kept.machine.boot.order == (BootDevice.HD, BootDevice.CDROM)
    assert [disk.path for disk in first.machine.disks] == [folders / "d", disc]
    assert not place.exists()


@pytest.mark.parametrize(
    ("options", "first"),
    [
        (["--cdrom", "installer.iso"], [BootDevice.CDROM, BootDevice.HD]),
        (["--pxe", "--network", "bridge=br0"], [BootDevice.NETWORK, BootDevice.HD]),
        (["--install", "bootdev=network", "--network", "user,bootfile=http://a/b"], [BootDevice.NETWORK]),
    ],
)
@pytest.mark.usefixtures("disc")
def test_ways_to_install(made: Making, options: list[str], first: list[BootDevice]) -> None:
    started = made(*options, "--disk", "none").machine.boot
    kept = made(*options, "--disk", "none", step="2").machine.boot
    assert started is not None
    assert kept is not None
    assert list(started.order) == first
    assert kept.order[0] is BootDevice.HD


def test_a_folder_of_boot_files_must_have_one_for_the_firmware(made: Making, folders: Path) -> None:
    words = ["--pxe", "--disk", "none", "--network", f"user,tftp={folders}"]
    assert "no boot file of firmware bios is known; say which it is with bootfile=" in made.refused(*words)
    (folders / "pxelinux.0").touch()
    assert made(*words).machine.networks[0].tftp == folders
    assert "no boot file of firmware uefi is known" in made.refused(*words, "--boot", "uefi")
    (folders / "grubx64.efi").touch()
    firmware = made(*words, "--boot", "uefi").machine.firmware
    assert firmware is not None
    assert firmware.kind is FirmwareKind.UEFI


def test_uefi_keeps_its_variables(made: Making, folders: Path) -> None:
    firmware = made.machine("--boot", "uefi").firmware
    assert firmware is not None
    assert (firmware.kind, firmware.vars) == (FirmwareKind.UEFI, folders / "state/innkeeper/a.nvram")


@pytest.mark.parametrize(
    "how",
    [
        ["--cdrom", "installer.iso"],
        ["--location", "installer.iso,kernel=vmlinuz,initrd=initrd"],
        ["--install", f"kernel={__file__},initrd={__file__}"],
    ],
)
@pytest.mark.usefixtures("disc")
def test_an_installer_starts_by_uefi_too_and_has_the_variables(made: Making, how: list[str]) -> None:
    first, kept = (made(*how, "--boot", "uefi", "--disk", "none", step=step).machine for step in "12")
    assert first.firmware == kept.firmware
    assert kept.firmware is not None
    assert kept.firmware.vars is not None
    assert kept.kernel is None


def test_a_kernel_of_ones_own_starts_by_uefi(made: Making) -> None:
    machine = made.machine("--boot", f"uefi,kernel={__file__},kernel_args=quiet,nvram=a.vars")
    assert (machine.kernel, machine.append) == (Path(__file__), "quiet")
    assert machine.firmware is not None
    assert machine.firmware.vars == Path("a.vars").absolute()
    assert "a kernel, which is what starts, and loader" in made.refused(
        "--import", "--boot", f"kernel={__file__},loader={__file__}"
    )


def test_words_about_the_machine(made: Making) -> None:
    uuid = "00000000-0000-0000-0000-000000000005"
    about = f"title='a, b',uuid={uuid},description=more"
    definition = made(*SOME, "--metadata", about, "--events", "on_reboot=destroy,on_poweroff=restart")
    assert (definition.title, str(definition.uuid), definition.description) == ("a, b", uuid, "more")
    assert (definition.on_reboot, definition.on_poweroff) == (Action.DESTROY, Action.RESTART)
    assert made(*SOME, "--osinfo", "debian12").os_id in ("http://debian.org/debian/12", "")


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_had_is_an_error_that_names_it(words: str, made: Making) -> None:
    first, *_ = names = words.split()
    for name in names:
        value = ["strange"] if REFUSED[words].value else []
        assert f"{first} " in made.refused(*SOME, name, *value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--channel", "spicevmc"],
            "the only channel here is unix,target.type=virtio,target.name=org.qemu.guest_agent.0",
        ),
        (["--cpu", "core2duo,+x2apic"], "--cpu is 'core2duo,+x2apic'; the engine says which processor"),
        (["--features", "smm.state=on"], "--features has smm.state=on"),
        (["--clock", "offset=localtime"], "--clock is 'offset=localtime'"),
        (["--graphics", "spice"], "--graphics is 'spice'; spice cannot be had"),
        (["--graphics", "vnc,listen=socket"], "give socket=PATH"),
        (["--graphics", "vnc,passwordvalidto=tomorrow"], "unknown key 'passwordvalidto'"),
        (["--disk", "path=a,device=floppy"], "device=floppy; it must be one of disk, cdrom"),
        (["--disk", "path=a,size=1,shareable=yes"], "shareable=yes; a disk here is locked"),
        (["--boot", "fd"], "--boot names 'fd'"),
        (["--boot", "loader=/a,loader.readonly=no"], "loader.readonly=no; it can be yes or on"),
        (["--serial", "tcp,host=:1234"], "--serial is 'tcp,host=:1234'; it can be pty, file"),
        (["--serial", "pty", "--serial", "pty"], "--serial is given 2 times"),
        (["--video", "qxl"], "--video is 'qxl'"),
        (["--rng", "egd,backend.type=tcp"], "--rng is 'egd,backend.type=tcp'"),
        (["--memballoon", "xen"], "--memballoon is 'xen'"),
        (["--vsock", "model=virtio"], "neither cid.auto=yes nor cid.address"),
        (["--input", "mouse,bus=usb"], "--input is 'mouse,bus=usb'"),
        (["--filesystem", "/srv,files,accessmode=mapped"], "accessmode=mapped"),
        (["--network", "type=direct,source=eth0"], "macvtap cannot be had"),
        (["--network", "none", "--network", "user"], "--network is none, and given more than once"),
        (["--memory", "memory=1,currentMemory=2"], "leaves 2 MiB of 1 MiB"),
        (["--memory", "lots"], "memory=lots; it must be a number of MiB"),
        (["--vcpus", "4,maxvcpus=2"], "a machine that has at most 2 cannot start with 4"),
        (["--vcpus", "2,maxvcpus=400"], "maxvcpus is 400; it must be between 2 and 64"),
        (["--events", "on_crash=preserve"], "on_crash=preserve"),
        (["--cloud-init", "disable=perhaps"], "disable=perhaps; it must be on or off"),
        (["--initrd-inject", "x"], "--initrd-inject is for the kernel of --location"),
        (["--noreboot"], "nothing is installed"),
        (["--unattended"], "--unattended answers an installer that --location or --cdrom names"),
        (["--autoconsole", "loud"], "--autoconsole is 'loud'"),
        (["--osinfo", "require=on"], "--osinfo requires to know what will be installed"),
        (["--check", "weather=off"], "--check has an unknown key 'weather'"),
        (["--pxe"], "--pxe and --import are given"),
    ],
)
def test_values_that_cannot_be_had_are_errors(made: Making, options: list[str], words: str) -> None:
    with mock.patch("getpass.getuser", return_value="somebody"), mock.patch("os.geteuid", return_value=7):
        assert words in made.refused(*SOME, *options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--location", "https://example.org/debian"], "it must be an ISO image or a folder: fetch it first"),
        (["--location", "nothing.iso"], "there is no such ISO image or folder"),
        (["--location", __file__], "is no ISO image"),
        (["--location", "."], "is no installer that is known; say where its kernel is"),
        (["--cdrom", __file__], "is no ISO image"),
        (["--cdrom", "nothing.iso"], "nothing.iso"),
        (["--cdrom", __file__, "--osinfo", "debian12"], "is no ISO image"),
        (["--cdrom", "installer.iso", "--boot", "kernel=installer.iso"], "--boot has a kernel, which starts instead"),
        (["--install", "fedora29"], "which would be fetched"),
        (["--cdrom", "installer.iso", "--unattended", "--osinfo", "win10"], "cannot answer the installer of win10"),
    ],
)
@pytest.mark.usefixtures("disc")
def test_installers_that_cannot_be(made: Making, options: list[str], words: str) -> None:
    assert words in made.refused("--disk", "none", *options)


def test_disks_of_others_are_left_alone(made: Making, folders: Path) -> None:
    file = folders / "other.xml"
    devices = f"<disk><source file='{folders}/d'/><target dev='vda'/></disk><interface><mac address='52:54:00:00:00:09'/></interface>"
    file.write_text(
        f"<domain type='qemu'><name>other</name><memory>65536</memory><devices>{devices}</devices></domain>"
    )
    assert main(["define", str(file)]) == 0
    (folders / "d").write_bytes(bytes(512))
    options = ["--import", "--disk", f"{folders}/d"]
    assert "is that of machine other" in made.refused(*options)
    card = ["--network", "user,mac=52:54:00:00:00:09"]
    assert "is that of machine other" in made.refused(*SOME, *card)
    assert main(["virt-install", "--name", "a", *options, *card, "--check", "all=off", "--dry-run"]) == 0


def test_a_disk_that_is_to_be_whole_at_once_must_fit(made: Making) -> None:
    assert "shall have" in made.refused("--import", "--disk", "d,size=1000000,sparse=no")


def test_kvm_that_cannot_run_the_machine_is_told_with_what_can() -> None:
    broken = mock.patch("innkeeper.engine.choose.kvm_probe", return_value={"usable": False, "why": "it is broken"})
    with broken, pytest.raises(EngineUnavailable, match="--virt-type=auto takes the fastest engine that can"):
        engines.check(MachineConfig(kernel=Path(__file__), engine=EngineChoice.KVM))


def test_what_a_guest_said_last() -> None:
    assert last_line("a\r\n\x1b[1;32mb\x1b[0m\n\n") == "b"
    assert last_line("") == ""


def test_the_same_by_its_plain_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "--name", "a", *SOME, "--print-xml"]) == 0
    assert "<name>a</name>" in capsys.readouterr().out


def test_a_channel_for_the_guests_agent_is_there_unless_it_is_not_wanted(made: Making) -> None:
    assert made.machine().agent
    assert made.machine("--channel", "unix,target.type=virtio,target.name=org.qemu.guest_agent.0").agent
    assert not made.machine("--channel", "none").agent
