"""Networks that are kept: their definitions, in libvirt's XML, and what became of those that were started."""

from innkeeper.manager.networks.networks import Networks

__all__ = ["Networks"]
