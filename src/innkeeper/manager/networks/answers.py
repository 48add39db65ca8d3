"""What is said of networks, in plain values."""

from typing import TypedDict


class NetworkInfo(TypedDict):
    """What a network is, and whether it is there."""

    name: str
    uuid: str
    active: bool
    persistent: bool
    autostart: bool
    mode: str
    bridge: str | None
    addresses: list[str]


class Done(TypedDict):
    """What was done to a network, and what its user should know of it."""

    name: str
    unknown: list[str]  # elements that mean nothing here
    notes: list[str]


class LeaseInfo(TypedDict):
    """An address that a machine has from a network's DHCP."""

    expiry: int
    mac: str
    protocol: str
    address: str
    hostname: str | None
    client: str | None


class Updated(TypedDict):
    """Of what a change was made."""

    name: str
    live: bool
    config: bool
