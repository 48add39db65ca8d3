"""`inn install`: another name of `inn virt-install`."""

from innkeeper.cli.virt_install import execute, register

__all__ = ["execute", "register"]
