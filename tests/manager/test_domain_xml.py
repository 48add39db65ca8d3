"""libvirt's XML: what it means here, what is kept of the rest, and what is refused."""

import contextlib
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.config import (
    BalloonConfig,
    ConsoleConfig,
    ConsoleKind,
    DiskBus,
    DiskConfig,
    DiskDevice,
    DiskFormat,
    EngineChoice,
    FilesystemConfig,
    GraphicsConfig,
    InputKind,
    MachineConfig,
    VideoModel,
    VsockConfig,
)
from innkeeper.config.firmware import BootConfig, BootDevice, FirmwareConfig, FirmwareKind
from innkeeper.config.network import (
    CardModel,
    ForwardConfig,
    LinkState,
    NetworkConfig,
    NetworkKind,
    UserBackend,
)
from innkeeper.errors import ConfigError, InnkeeperError
from innkeeper.manager import Definition, read_xml, unknown_parts, write_xml
from innkeeper.manager.definition import Action
from innkeeper.manager.normal import normalised
from innkeeper.manager.small_devices_xml import VSOCK

VIRT_INSTALL = (Path(__file__).parent / "virt-install.xml").read_text()


def domain(inside: str, kind: str = "qemu") -> str:
    return f"<domain type='{kind}'><name>a</name><memory unit='MiB'>64</memory>{inside}</domain>"


def test_the_document_of_the_real_virt_install_is_understood() -> None:
    definition = read_xml(VIRT_INSTALL.replace('type="test"', 'type="kvm"'))
    machine = definition.machine
    assert (definition.name, machine.memory_mib, machine.vcpus, machine.engine) == ("myvm", 2048, 2, EngineChoice.KVM)
    assert [(disk.device, disk.bus, str(disk.path)) for disk in machine.disks] == [
        (DiskDevice.DISK, DiskBus.VIRTIO, "/tmp/myvm.disk"),
        (DiskDevice.CDROM, DiskBus.IDE, "/tmp/installer.iso"),
    ]
    assert machine.boot == BootConfig(order=(BootDevice.CDROM, BootDevice.HD))
    assert [(card.kind, card.name, card.mac) for card in machine.networks] == [
        (NetworkKind.BRIDGE, "br0", "00:16:3e:63:46:3d")
    ]
    assert [graphics.port for graphics in machine.graphics] == [None]
    assert definition.on_reboot is Action.DESTROY


def test_what_only_user_networks_have_is_kept() -> None:
    card = NetworkConfig.parse(
        "user,portForward=8080-8081:80/udp,portForward0=[::1]:22:22,tftp=/srv/tftp,bootfile=a.ipxe,queues=2"
    )
    for network in (card, NetworkConfig(backend=UserBackend.PASST)):
        xml = write_xml(Definition(name="a", machine=MachineConfig(name="a", networks=(network,))))
        assert read_xml(xml).machine.networks == (network,)
        assert unknown_parts(xml) == []


def test_forwards_are_read_as_libvirt_writes_them() -> None:
    rules = """<portForward proto='tcp' address='0.0.0.0'><range start='2022' to='22'/><range start='80'/></portForward>
      <portForward proto='udp'><range start='5000' end='5001' to='6000'/></portForward>"""
    (card,) = read_xml(domain(f"<devices><interface type='user'>{rules}</interface></devices>")).machine.networks
    assert card.forwards == (
        ForwardConfig(host="0.0.0.0", port=2022, guest_port=22),
        ForwardConfig(host="0.0.0.0", port=80, guest_port=80),
        ForwardConfig(udp=True, port=5000, guest_port=6000),
        ForwardConfig(udp=True, port=5001, guest_port=6001),
    )
    for broken in (
        "<range start='x'/>",
        "<range start='9' exclude='yes'/>",
        "<range start='-1'/>",
        "<range start='1' end='9999'/>",
    ):
        with pytest.raises(ConfigError):
            read_xml(
                domain(f"<devices><interface type='user'><portForward>{broken}</portForward></interface></devices>")
            )


PCI = "<address type='pci' domain='0x0000' bus='{}' slot='{}' function='{}'/>"


def test_slots_of_the_one_bus_are_kept_and_other_addresses_named() -> None:
    disk = "<disk><source file='/a'/><target dev='{}' bus='{}'/>{}</disk>"
    card = "<interface type='user'>{}</interface>"
    for address, slot in ((PCI.format("0x00", "0x05", "0x0"), 5), (PCI.format("0", "31", "0"), 31)):
        xml = domain(f"<devices>{disk.format('vda', 'virtio', address)}</devices>")
        assert [each.slot for each in read_xml(xml).machine.disks] == [slot]
        assert unknown_parts(xml) == []
    for place in (("0x01", "0x05", "0x0"), ("0x00", "0x05", "0x1"), ("0x00", "0x01", "0x0"), ("0x00", "0x20", "0x0")):
        xml = domain(f"<devices>{card.format(PCI.format(*place))}</devices>")
        assert [each.slot for each in read_xml(xml).machine.networks] == [None]
        assert unknown_parts(xml) == ["devices/interface/address"]
    drive = disk.format("hda", "ide", "<address type='drive' unit='0'/>")
    xml = domain(f"<devices>{drive}</devices>")
    assert [each.slot for each in read_xml(xml).machine.disks] == [None]
    assert unknown_parts(xml) == ["devices/disk/address"]
    with pytest.raises(ConfigError, match="the slot of an <address> is 'x'"):
        read_xml(domain(f"<devices>{card.format(PCI.format('0', 'x', '0'))}</devices>"))


def test_firmware_keeps_the_template_of_its_variables() -> None:
    firmware = FirmwareConfig(
        kind=FirmwareKind.UEFI, path=Path("/code"), vars=Path("/vars"), template=Path("/template")
    )
    boot = BootConfig(order=(BootDevice.HD,), useserial=True)
    machine = MachineConfig(name="a", firmware=firmware, boot=boot)
    kept = read_xml(write_xml(Definition(name="a", machine=machine))).machine
    assert (kept.firmware, kept.boot) == (firmware, boot)


def test_what_means_nothing_here_is_named_and_kept() -> None:
    text = VIRT_INSTALL.replace('type="test"', 'type="kvm"')
    assert unknown_parts(text) == [
        "devices/controller",
        "devices/input type=tablet bus=usb (a tablet on virtio stands in)",
    ]
    kept = normalised(text)
    assert 'model="ich9-uhci2"' in kept
    assert "http://debian.org/debian/11" in kept
    assert normalised(kept) == kept


FULL = Definition(
    name="full",
    uuid=UUID(int=5),
    title="all of it",
    description="two\nlines",
    machine=MachineConfig(
        name="full",
        memory_mib=300,
        vcpus=3,
        max_vcpus=5,
        engine=EngineChoice.BT,
        firmware=FirmwareConfig(kind=FirmwareKind.UEFI, vars=Path("/v/full.fd")),
        boot=BootConfig(order=(BootDevice.HD, BootDevice.NETWORK), menu=True),
        disks=(
            DiskConfig(path=Path("/d/a"), format=DiskFormat.QCOW2, serial="one", boot_order=1, target="vda", slot=9),
            DiskConfig(
                path=None, device=DiskDevice.CDROM, bus=DiskBus.IDE, readonly=True, format=DiskFormat.RAW, target="hda"
            ),
            DiskConfig(path=Path("/d/b"), bus=DiskBus.SATA, readonly=True, target="sda"),
        ),
        networks=(
            NetworkConfig(kind=NetworkKind.BRIDGE, name="br0", mac="52:54:00:00:00:01", link=LinkState.DOWN),
            NetworkConfig(kind=NetworkKind.TAP, name="tap1", model=CardModel.E1000, mtu=1400, slot=31),
            NetworkConfig(),
        ),
        graphics=(GraphicsConfig(port=5910), GraphicsConfig(socket=Path("/s/vnc"))),
        rng=True,
        filesystems=(FilesystemConfig(source=Path("/srv"), target="files", readonly=True),),
        vsock=VsockConfig(path=VSOCK, cid=7),
        balloon=BalloonConfig(memory_mib=200, deflate_on_oom=False),
        inputs=(InputKind.TABLET, InputKind.KEYBOARD),
        agent=True,
        video=VideoModel.VGA,
        console=ConsoleConfig(kind=ConsoleKind.FILE, path=Path("/l/serial")),
        virtio_consoles=(ConsoleConfig(kind=ConsoleKind.UNIX, path=Path("/l/hvc0")),),
    ),
    on_reboot=Action.DESTROY,
    on_poweroff=Action.RESTART,
    os_id="http://debian.org/debian/12",
)


def test_what_is_written_is_read_again() -> None:
    text = write_xml(FULL)
    assert read_xml(text) == FULL
    assert unknown_parts(text) == []
    assert [name for name in ("vda", "hda", "sda") if f'dev="{name}"' in text] == ["vda", "hda", "sda"]


def test_a_kernel_of_its_own() -> None:
    os_part = "<os><type>hvm</type><kernel>/k</kernel><initrd>/i</initrd><cmdline>quiet</cmdline></os>"
    machine = read_xml(domain(os_part)).machine
    assert (machine.kernel, machine.initrd, machine.append) == (Path("/k"), Path("/i"), "quiet")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<domain", "no XML"),
        ("<!DOCTYPE d [<!ENTITY a 'aa'>]><domain/>", "document type"),
        ("<pool/>", "a machine is a <domain>"),
        ("<domain/>", "no <name>"),
        ("<domain><name>a</name></domain>", "no <memory>"),
        (domain("").replace("<name>a", "<name>../a"), "a machine's name is '../a'"),
        (domain("").replace("<name>a", "<name>" + "a" * 10000), "at most 63"),
        (domain("").replace("MiB", "furlong"), "unit 'furlong'"),
        (domain("").replace("64", "much"), "'much'; it must be a whole number"),
        (domain("<uuid>1</uuid>"), "32 hexadecimal digits"),
        (domain("", "xen"), "type 'xen'; types are kvm"),
        (domain("<os><type arch='sparc'>hvm</type></os>"), "for sparc"),
        (domain("<os><type>linux</type></os>"), "must be hvm"),
        (domain("<vcpu>0</vcpu>"), "vcpus is 0"),
        (domain("<devices><disk type='network'/></devices>"), "of type 'network'"),
        (domain("<devices><disk><source file='a'/><target dev='sda' bus='scsi'/></disk></devices>"), "'scsi'"),
        (domain("<devices><interface type='direct'/></devices>"), "of type 'direct'"),
        (domain("<devices><interface><model type='rtl8139'/></interface></devices>"), "'rtl8139'; here it can be"),
        (domain("<on_reboot>dance</on_reboot>"), "<on_reboot> is 'dance'"),
        (domain("<devices><filesystem><driver type='virtiofs'/><target dir='t'/></filesystem></devices>"), "virtiofs"),
        (domain("<devices><filesystem><target dir='t'/></filesystem></devices>"), "no <source dir"),
        (domain("<devices><rng><backend model='egd'/></rng></devices>"), "'egd'"),
        (domain("<devices><video><model type='gop'/></video></devices>"), "'gop'"),
        (domain("<devices><serial type='tcp'/></devices>"), "the serial port is of type 'tcp'"),
        (domain("<devices><serial type='pty'/><serial type='pty'/></devices>"), "machines here have one"),
        (domain("<devices><input type='mouse' bus='virtio'/></devices>"), "a mouse on bus virtio"),
        ("x" * ((1 << 20) + 1), "the limit is 1048576"),
    ],
)
def test_what_cannot_be_is_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_xml(text)
    assert words in str(caught.value)


@given(
    st.lists(
        st.sampled_from(
            ["<os>", "</os>", "<devices>", "<disk ", "type='file'", "/>", "<memory>9</memory>", "é", "<a b='c'/>"]
        ),
        max_size=9,
    )
)
def test_nothing_but_our_own_errors_comes_of_nonsense(pieces: list[str]) -> None:
    with contextlib.suppress(InnkeeperError):
        read_xml(domain("".join(pieces)))


@pytest.mark.parametrize(
    ("inside", "named"),
    [
        ("<devices><video><model type='qxl'/></video></devices>", "a vga stands in"),
        ("<devices><video><model type='virtio'/></video></devices>", "a vga stands in"),
        ("<devices><input type='mouse' bus='usb'/></devices>", "PS/2 has it"),
        ("<cpu mode='custom'><model>core2duo</model></cpu>", "core2duo"),
        (
            "<devices><channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel></devices>",
            "spice",
        ),
    ],
)
def test_a_device_that_stands_in_for_another_is_named(inside: str, named: str) -> None:
    assert [named in part for part in unknown_parts(domain(inside))] == [True]


def test_a_screen_is_on_virtio_only_where_no_firmware_would_need_it() -> None:
    video = "<devices><video><model type='virtio'/></video></devices>"
    assert read_xml(domain(video)).machine.video is VideoModel.VGA
    kernel = domain(f"<os><kernel>/k</kernel></os>{video}")
    assert read_xml(kernel).machine.video is VideoModel.VIRTIO
    assert unknown_parts(kernel) == []
