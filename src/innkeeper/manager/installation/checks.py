"""What is looked at before anything is made, by the manager that will run the machine."""

from collections.abc import Collection, Mapping

from innkeeper.config import BootDevice, FirmwareKind, MachineConfig, NetworkConfig
from innkeeper.config.network import NetworkKind
from innkeeper.errors import ConfigError, HostError
from innkeeper.image.iso9660 import Disc
from innkeeper.machine.names import running
from innkeeper.manager.domain_xml import read_xml
from innkeeper.manager.installation import disks, engines, media
from innkeeper.manager.installation.order import Order
from innkeeper.manager.saves import check_no_save
from innkeeper.manager.store import Row, Store, uuid_taken
from innkeeper.net import boot_files

NET_BOOT = (
    "a user network has no server of boot files by itself: name a folder of them, as in "
    "--network user,tftp=/srv/tftp,bootfile=pxelinux.0, or give a bridge or network that has one"
)


def check(order: Order, off: Collection[str]) -> None:
    """`off` are those of `CHECKS` that are not wanted. Raises `InnkeeperError`."""
    definition = order.definition
    with Store() as store:
        rows = store.all()
    check_identity(order, rows)
    others = {row.name: read_xml(row.xml).machine for row in rows if row.name != definition.name}
    if not {"path_in_use", "all"} & set(off):
        disks.check_unused(definition.machine.disks if not order.again else (), others)
    if not {"disk_size", "all"} & set(off):
        disks.check_space(order.disks)
    if not {"mac_in_use", "all"} & set(off):
        check_addresses(definition.machine.networks, others)
    first = read_xml(order.first).machine if order.first is not None else None
    for machine in (first, definition.machine):
        if machine is not None:
            engines.check(machine)
    if first is not None and first.boot is not None and first.boot.order[:1] == (BootDevice.NETWORK,):
        check_server(first)
    check_media(order)


def check_identity(order: Order, rows: Collection[Row]) -> None:
    """Raises `InnkeeperError` if name or UUID are another machine's, or one that is installed again cannot be."""
    definition, name = order.definition, order.definition.name
    known = next((row for row in rows if row.name == name), None)
    if order.again:
        if known is None or known.uuid != definition.uuid:
            raise ConfigError(f"there is no machine {name!r}; inn list --all shows all")
        if name in running():
            raise HostError(f"machine {name} runs; end it first, with inn destroy {name}")
        check_no_save(known)
        return
    if known is None and name in running():
        raise ConfigError(f"a machine named {name} runs already, without being kept; inn destroy {name} ends it")
    if known is not None:
        raise ConfigError(f"a machine named {name} exists already; inn undefine {name} forgets it")
    if (other := next((row for row in rows if row.uuid == definition.uuid), None)) is not None:
        raise uuid_taken(other.uuid, other.name)


def check_addresses(cards: tuple[NetworkConfig, ...], others: Mapping[str, MachineConfig]) -> None:
    """Raises `ConfigError` if a card has the address of another machine's."""
    wanted = {card.mac.lower() for card in cards if card.mac is not None}
    for name, machine in others.items():
        for card in machine.networks:
            if card.mac is not None and card.mac.lower() in wanted:
                raise ConfigError(
                    f"--network has mac={card.mac}, which is that of machine {name}; give another "
                    "(--check mac_in_use=off takes it anyway)"
                )


def check_server(machine: MachineConfig) -> None:
    """Raises `ConfigError` unless a machine that starts from the network may find something there."""
    cards, uefi = machine.networks, machine.firmware is not None and machine.firmware.kind is FirmwareKind.UEFI
    if not cards:
        raise ConfigError("the first start is from the network, and the machine has no card; leave out --network none")
    if any(card.kind is not NetworkKind.USER or card.bootfile for card in cards):
        return
    folders = [card.tftp for card in cards if card.tftp is not None]
    if not folders:
        raise ConfigError(f"the first start is from the network, and {NET_BOOT}")
    if not any(boot_files.first_in(folder, uefi=uefi) for folder in folders):
        kind = FirmwareKind.UEFI if uefi else FirmwareKind.BIOS
        raise ConfigError(
            f"--network has tftp={folders[0]}, where no boot file of firmware {kind} is known; say which it is with bootfile="
        )


def check_media(order: Order) -> None:
    """Raises `InnkeeperError` unless there is something to install from."""
    if order.location is not None:
        with order.location.open() as tree:
            media.boot_files(order.location, tree)
    elif order.cdrom is not None:
        with Disc(order.cdrom):
            pass  # it is one
    for file in (order.initrd, *order.inject):
        if file is not None and not file.is_file():
            raise ConfigError(f"there is no file {file}")
