"""A machine's cards on networks by name → what they are on this host, now.

An active network of this host stays as it is named: its record says which bridge it is. Without root a network of mode nat that is not active
is the built-in one instead; the card keeps its name, so that whoever opens the cable says so.
"""

from dataclasses import replace

from innkeeper.config import MachineConfig, NetworkConfig, NetworkKind
from innkeeper.errors import HostError
from innkeeper.manager.networks.networks import Networks
from innkeeper.net.host import realise, records


def resolve(machine: MachineConfig) -> MachineConfig:
    """Raises `InnkeeperError` for a network that is not there."""
    if not any(card.kind is NetworkKind.NETWORK for card in machine.networks):
        return machine
    known = Networks()
    return replace(machine, networks=tuple(resolve_card(card, known) for card in machine.networks))


def resolve_card(card: NetworkConfig, networks: Networks | None = None) -> NetworkConfig:
    """The same card, where the network is. Raises `InnkeeperError` for one that is not there."""
    if card.kind is not NetworkKind.NETWORK:
        return card
    info = (networks or Networks()).info(card.name)
    if info["active"]:
        if info["mode"] == "user":
            return replace(card, kind=NetworkKind.USER, name="")
        if records.read(info["name"]) is not None:
            return replace(card, name=info["name"])  # it is in this host's records, by which its cable is opened
        return replace(card, kind=NetworkKind.BRIDGE, name=info["bridge"] or "")
    if info["mode"] == "nat" and not realise.may_change():
        return replace(card, kind=NetworkKind.USER, name=info["name"])
    raise HostError(f"network {card.name} is not active; inn net-start {card.name} starts it")
