"""Command lines as cookbooks have them, for many systems: each is taken for what it says, or refused by a sentence that names why."""

import shlex
from pathlib import Path

import pytest

from innkeeper.cli import main
from innkeeper.config import BootDevice, DiskDevice, FirmwareKind, MachineConfig, NetworkKind
from innkeeper.image.iso9660 import write_disc
from innkeeper.manager import Definition, read_xml

DISCS = ("debian", "ubuntu", "alpine", "windows", "virtio-win", "arch")
BOOTS = {
    "debian": {"install.amd/vmlinuz": b"kernel", "install.amd/initrd.gz": b"initrd"},
    "ubuntu": {"casper/vmlinuz": b"kernel", "casper/initrd": b"initrd"},
    "alpine": {"boot/vmlinuz-virt": b"kernel", "boot/initramfs-virt": b"initrd"},
}
FEDORA = "[general]\nfamily = Fedora\n[images-x86_64]\nkernel = images/vmlinuz\ninitrd = images/initrd.img\n"


@pytest.fixture(autouse=True)
def folder(user: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the lines name: discs, a cloud image, an installer's tree, files of answers."""
    monkeypatch.chdir(user)
    for name in DISCS:
        write_disc(user / f"{name}.iso", name.upper(), {"readme": b"hello"})
    for name, files in BOOTS.items():
        for place, content in files.items():
            (user / name / place).parent.mkdir(parents=True, exist_ok=True)
            (user / name / place).write_bytes(content)
    (user / "fedora/images").mkdir(parents=True)
    (user / "fedora/.treeinfo").write_text(FEDORA)
    for name in ("fedora/images/vmlinuz", "fedora/images/initrd.img", "ks.cfg", "user-data", "network-config"):
        (user / name).write_text("words")
    (user / "cloud.qcow2").write_bytes(bytes(1 << 16))
    (user / "boot").mkdir()
    for name in ("OVMF_CODE.fd", "OVMF_VARS.fd"):
        (user / name).write_bytes(bytes(1 << 16))
    return user


class Lines:
    """Gives a line to `virt-install`, with `--print-xml` or `--dry-run`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def taken(self, line: str) -> tuple[Definition, Definition]:
        """The machine at its first start, and as it is kept."""
        words = shlex.split(line)
        found: list[Definition] = []
        for step in ("1", "2"):
            status = main(["virt-install", *words, "--print-xml", step])
            said = self._capsys.readouterr()
            if status and step == "2" and "has 1 step" in said.err:
                found.append(found[0])
                continue
            assert status == 0, said.err
            found.append(read_xml(said.out))
        assert main(["virt-install", *words, "--dry-run"]) == 0, self._capsys.readouterr().err
        assert "Domain '" in self._capsys.readouterr().err or "--quiet" in words or "-q" in words
        return found[0], found[1]

    def refused(self, line: str) -> str:
        assert main(["virt-install", *shlex.split(line), "--dry-run"]) == 2
        return self._capsys.readouterr().err


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys)


def kinds(machine: MachineConfig) -> list[tuple[DiskDevice, str | None]]:
    return [(disk.device, disk.path.name if disk.path is not None else None) for disk in machine.disks]


DISK, CDROM = DiskDevice.DISK, DiskDevice.CDROM


def test_debian_from_its_image(lines: Lines) -> None:
    first, kept = lines.taken("--import --name d --memory 512 --disk cloud.qcow2 --osinfo debian9 --noautoconsole")
    assert first.machine == kept.machine
    assert kinds(kept.machine) == [(DISK, "cloud.qcow2")]


def test_debian_from_its_installer_on_the_serial_console(lines: Lines) -> None:
    first, kept = lines.taken(
        "--name deb12 --osinfo debian12 --vcpus 1 --memory 2048 --disk size=10 --network bridge=br0 --graphics none "
        "--extra-args 'console=ttyS0,115200n8 --- console=ttyS0,115200n8' --location debian"
    )
    assert first.machine.append == "console=ttyS0,115200n8 --- console=ttyS0,115200n8"
    assert first.machine.kernel is not None
    assert kinds(kept.machine) == [(DISK, "deb12.qcow2")]
    assert (kept.machine.kernel, kept.machine.graphics) == (None, ())
    assert (kept.machine.networks[0].kind, kept.machine.networks[0].name) == (NetworkKind.BRIDGE, "br0")


def test_ubuntu_as_it_was_written_years_ago(lines: Lines) -> None:
    first, kept = lines.taken(
        "--name test --connect qemu:///session --ram 1638 --disk path=ubuntu.qcow2,format=qcow2,bus=virtio,size=8 --vcpus 4 "
        "--os-type linux --network network=default --graphics none --console pty,target_type=serial --hvm --accelerate "
        "--location=ubuntu --extra-args 'console=ttyS0'"
    )
    assert first.machine.append == "console=ttyS0"
    assert (kept.machine.vcpus, kept.machine.memory_mib, kept.machine.networks[0].name) == (4, 1638, "default")


def test_an_ubuntu_cloud_image_behind_a_new_disk(lines: Lines) -> None:
    first, kept = lines.taken(
        "--virt-type qemu --name=nginx --ram 2048 --vcpus 2 --network network=front --network network=back --graphics none "
        "--audio none --disk backing_store=cloud.qcow2,backing_format=raw,format=qcow2,size=40,pool=default "
        "--os-variant name=ubuntu22.04 --import --noautoconsole --cloud-init user-data=user-data,network-config=network-config"
    )
    assert kinds(first.machine) == [(DISK, "nginx.qcow2"), (CDROM, "seed.iso")]
    assert kinds(kept.machine) == [(DISK, "nginx.qcow2")]
    assert [card.name for card in kept.machine.networks] == ["front", "back"]


def test_fedora_by_kickstart(lines: Lines) -> None:
    first, kept = lines.taken(
        "-n fedora --description fedora --hvm --cpu host --os-variant generic --ram 2048 --vcpus 1 --features acpi=on,apic=on "
        "--disk path=fedora.qcow2,bus=virtio,size=10 --network network=default --location fedora --initrd-inject ks.cfg "
        "--extra-args 'inst.ks=file:/ks.cfg' --extra-args 'console=ttyS0' --noreboot"
    )
    assert first.machine.append == "inst.ks=file:/ks.cfg console=ttyS0"
    assert kept.description == "fedora"


def test_fedora_from_its_image(lines: Lines) -> None:
    _, kept = lines.taken(
        "--name boots --cpu host --vcpus 2,maxvcpus=4 --memory 1024,maxmemory=4096 --import --disk ./cloud.qcow2,format=qcow2 --os-variant generic "
        "--network default,mac=52:54:00:4f:88:7c --wait -1 --check all=off"
    )
    assert kept.machine.networks[0].mac == "52:54:00:4f:88:7c"
    assert (kept.machine.memory_mib, kept.machine.vcpus, kept.machine.max_vcpus) == (4096, 2, 4)


def test_alpine_as_a_router(lines: Lines) -> None:
    first, kept = lines.taken(
        "--name router --memory 512 --vcpu 2 --force --disk path=router.qcow2,format=qcow2,size=5 --cdrom alpine.iso "
        "--network bridge=br-wan,model=virtio --network bridge=br-lan,model=virtio --graphics none "
        "--console pty,target_type=serial --os-variant generic --autostart"
    )
    assert first.machine.boot is not None
    assert first.machine.boot.order[0] is BootDevice.CDROM
    assert kept.machine.boot is not None
    assert kept.machine.boot.order[0] is BootDevice.HD
    assert (len(kept.machine.networks), kept.machine.vcpus) == (2, 2)


def test_alpine_whose_order_has_the_disc_first(lines: Lines) -> None:
    """The manual has it ejected: else it would be installed for ever."""
    first, kept = lines.taken(
        "--name alpine --ram 512 --vcpus 1 --cpu host --disk size=1,format=qcow2,bus=virtio --cdrom alpine.iso "
        "--graphics vnc,listen=0.0.0.0,password=pass --os-variant generic --boot cdrom,hd,menu=on"
    )
    assert kinds(first.machine)[1] == (CDROM, "alpine.iso")
    assert kinds(kept.machine)[1] == (CDROM, None)
    assert kept.machine.boot is not None
    assert kept.machine.boot.menu


def test_windows_with_its_drivers(lines: Lines) -> None:
    first, kept = lines.taken(
        "--name=windows --memory 8192 --cpu host-passthrough --vcpus=4 --os-type=windows --os-variant=win10 "
        "--disk path=win10.qcow2,size=100,bus=virtio,cache=writeback --disk virtio-win.iso,device=cdrom,bus=sata,readonly=on "
        "--network network=default,model=e1000 --graphics vnc --video vga --input tablet,bus=virtio --cdrom windows.iso"
    )
    assert kinds(first.machine) == [(DISK, "win10.qcow2"), (CDROM, "virtio-win.iso"), (CDROM, "windows.iso")]
    assert first.machine.disks == kept.machine.disks


def test_a_live_disc_by_its_old_name(lines: Lines) -> None:
    first, kept = lines.taken(
        "--hvm --virt-type qemu --network=bridge:br1,model=virtio,mac=AA:BB:CC:DD:EE:FF --noautoconsole --name old --ram 4096 "
        "--disk path=cloud.qcow2,bus=virtio,cache=none --vnc --vncport 5901 --vnclisten 127.0.0.1 --cdrom arch.iso --livecd"
    )
    assert first.machine == kept.machine
    assert kept.machine.boot is not None
    assert kept.machine.boot.order[0] is BootDevice.CDROM
    assert (kept.machine.networks[0].name, kept.machine.graphics[0].port) == ("br1", 5901)


def test_a_network_boot_that_is_watched_on_the_serial_port(lines: Lines) -> None:
    first, kept = lines.taken(
        "--pxe --network network=default --name pxe --memory 2048 --disk size=10 --nographics --boot menu=on,useserial=on"
    )
    for machine, order in ((first.machine, BootDevice.NETWORK), (kept.machine, BootDevice.HD)):
        assert machine.boot is not None
        assert (machine.boot.order[0], machine.boot.menu, machine.boot.useserial) == (order, True, True)


def test_uefi_said_three_times(lines: Lines) -> None:
    _, kept = lines.taken(
        "--name u --memory 8192 --import --disk cloud.qcow2,bus=virtio --boot uefi --boot hd,cdrom,menu=on "
        "--boot loader=OVMF_CODE.fd,loader.readonly=yes,loader.type=pflash,nvram.template=OVMF_VARS.fd,loader_secure=no "
        "--boot firmware.feature0.name=secure-boot,firmware.feature0.enabled=no"
    )
    firmware, boot = kept.machine.firmware, kept.machine.boot
    assert firmware is not None
    assert firmware.path is not None
    assert firmware.template is not None
    assert (firmware.kind, firmware.path.name, firmware.template.name) == (
        FirmwareKind.UEFI,
        "OVMF_CODE.fd",
        "OVMF_VARS.fd",
    )
    assert boot is not None
    assert (boot.order, boot.menu) == ((BootDevice.HD, BootDevice.CDROM), True)


def test_two_disks_that_nobody_named(lines: Lines) -> None:
    _, kept = lines.taken(
        "-q -n vm --memory 512 --import --disk path=cloud.qcow2 --disk size=1 --disk size=2 --boot hd"
    )
    assert [name for _, name in kinds(kept.machine)] == ["cloud.qcow2", "vm.qcow2", "vm-1.qcow2"]


HEAD = "--name a --memory 512 --disk size=1 "


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--location https://deb.debian.org/debian/dists/bookworm/main/installer-amd64/", "fetch it first"),
        ("--cdrom https://example.org/alpine.iso", "--cdrom is https://example.org/alpine.iso, an address"),
        ("--import --disk https://example.org/cloud.img", "--disk has path=https://example.org/cloud.img, an address"),
        ("--install fedora29 --unattended", "--install has os=fedora29, which would be fetched"),
        ("--cdrom ubuntu.iso --graphics spice --os-variant ubuntu22.04", "--graphics is 'spice'; spice cannot be had"),
        ("--cdrom arch.iso --graphics vnc,listen=0.0.0.0", "would listen at 0.0.0.0, for everybody"),
        (
            "--cdrom windows.iso --os-variant win11 --boot uefi --tpm emulator",
            "--tpm is 'emulator', which cannot be had",
        ),
        ("--cdrom windows.iso --machine q35 --boot uefi", "machines here are of type pc; leave it out"),
        ("--cdrom windows.iso --network network=default,model=e1000e", "model=e1000e; it must be one of virtio, e1000"),
        ("--cdrom windows.iso --features kvm_hidden=on", "--features has kvm_hidden=on"),
        ("--cdrom windows.iso --cpu host-passthrough,cache.mode=passthrough", "--cpu is 'host-passthrough,cache.mode"),
        ("--cdrom windows.iso --video qxl", "--video is 'qxl'"),
        ("--cdrom windows.iso --channel spicevmc", "--channel is 'spicevmc'; the only channel here is"),
        ("--cdrom windows.iso --disk virtio-win.vfd,device=floppy", "device=floppy; it must be one of disk, cdrom"),
        ("--cdrom windows.iso --controller type=scsi,model=virtio-scsi", "--controller is 'type=scsi"),
        ("--cdrom windows.iso --sound --accelerate", "--sound cannot be had: there is no sound"),
        ("--cdrom windows.iso --cpuset=0,1,2", "--cpuset is '0,1,2', which cannot be had"),
        ("--cdrom windows.iso --hostdev pci_0000_03_00_0", "--hostdev is 'pci_0000_03_00_0', which cannot be had"),
        ("--import --disk cloud.qcow2 --vcpus 4,sockets=1,cores=2,threads=2", "give their number alone"),
        (
            "--import --disk cloud.qcow2 --network=bridge:ovs1,model=virtio,virtualport_type=openvswitch",
            "virtualport_type",
        ),
        ("--import --disk cloud.qcow2 --xml ./devices/interface/target/@dev=a", "--xml is './devices/interface"),
        ("--import --disk cloud.qcow2 --qemu-commandline='-display gtk'", "--qemu-commandline is '-display gtk'"),
        ("--import --disk cloud.qcow2,bus=scsi", "bus=scsi; it must be one of virtio, ide, sata"),
        ("--import --disk cloud.qcow2 --filesystem boot,src,driver.type=virtiofs", "of type virtiofs"),
        (
            "--import --disk cloud.qcow2 --memorybacking source.type=memfd,access.mode=shared",
            "--memorybacking is 'source",
        ),
        ("--import --disk cloud.qcow2 --boot uefi,loader.secure=yes", "loader.secure=yes; it can be no"),
        (
            "--cdrom debian.iso --boot uefi,firmware.feature0.name=secure-boot,firmware.feature0.enabled=yes",
            "secure boot and its keys cannot be had",
        ),
        ("--cdrom debian.iso --boot kernel=ks.cfg,hd", "--boot has a kernel, which is what starts, and hd"),
        ("--cdrom debian.iso --boot nvram=a.fd", "--boot has nvram, which is UEFI's"),
        ("--cdrom debian.iso --boot cdrom,fd,hd,network", "--boot names 'fd'"),
        ("--pxe --network bridge=br0 --mac=52:54:00:60:72:67", "write --network …,mac=ADDRESS"),
        ("--pxe", "name a folder of them, as in --network user,tftp=/srv/tftp,bootfile=pxelinux.0"),
        ("--pxe --network none", "the machine has no card"),
        ("--live --location debian", "--live starts from the disc of --cdrom"),
        ("--import --disk cloud.qcow2 --network user,dns=192.0.2.1", "the options say name_servers"),
        (
            "--import --disk cloud.qcow2 --destroy-on-exit --noautoconsole",
            "--destroy-on-exit is for when the console is left",
        ),
        ("--import --disk cloud.qcow2 --autoconsole text --noautoconsole", "leave out one of them"),
        ("--import --disk cloud.qcow2 --launchSecurity sev", "there is no memory encryption"),
        ("--reinstall a --cdrom debian.iso", "--name is given with --reinstall"),
    ],
)
def test_what_cannot_be_is_said(lines: Lines, line: str, words: str) -> None:
    head = "" if "--disk" in line else HEAD
    assert words in lines.refused((head or "--name a --memory 512 ") + line)
