"""A machine's cards on networks by name → what they are on this host, now.

An active network of this host stays as it is named: its record says which bridge it is. Without root a network of mode nat that is not active is the built-in address translation instead, and says so.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from innkeeper.config import MachineConfig, NetworkConfig, NetworkKind
from innkeeper.errors import HostError
from innkeeper.manager.networks.networks import Networks
from innkeeper.net.host import realise, records

logger = logging.getLogger(__name__)


def resolve(machine: MachineConfig, networks: Networks | None = None) -> MachineConfig:
    """Raises `InnkeeperError` for a network that is not there."""
    if not any(card.kind is NetworkKind.NETWORK for card in machine.networks):
        return machine
    known = networks or Networks()
    return replace(machine, networks=tuple(resolve_card(card, known, logger.warning) for card in machine.networks))


def resolve_now(card: NetworkConfig) -> NetworkConfig:
    """One card, which is about to be plugged in. Raises `InnkeeperError` for a network that is not there."""
    return resolve_card(card, Networks(), logger.warning)


def resolve_card(card: NetworkConfig, networks: Networks, say: Callable[[str], None]) -> NetworkConfig:
    """The same card, on the bridge or on a network of its own."""
    if card.kind is not NetworkKind.NETWORK:
        return card
    info = networks.info(card.name)
    if info["active"]:
        if info["mode"] == "user":
            return replace(card, kind=NetworkKind.USER, name="")
        if records.read(info["name"]) is not None:
            return replace(card, name=info["name"])  # it is in this host's records, by which its cable is opened
        return replace(card, kind=NetworkKind.BRIDGE, name=info["bridge"] or "")
    if info["mode"] == "nat" and not realise.may_change():
        say(
            f"network {card.name} is not active, and making its bridge {info['bridge']} needs root; this card is on the built-in "
            f"user network instead (once: sudo inn net-start {card.name})"
        )
        return replace(card, kind=NetworkKind.USER, name="")
    raise HostError(f"network {card.name} is not active; inn net-start {card.name} starts it")
