"""The host's side of network cards: links of all kinds, opened, with clear words where the host refuses."""

from innkeeper.net.links import Opened, open_link
from innkeeper.net.mac import stable_mac

__all__ = ["Opened", "open_link", "stable_mac"]
