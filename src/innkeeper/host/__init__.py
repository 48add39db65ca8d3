"""What this host offers to virtual machines: found out by trying, where trying is harmless."""

from typing import TYPE_CHECKING

from innkeeper.host.finding import Finding, Status
from innkeeper.lazy import lazily

if TYPE_CHECKING:
    from innkeeper.host.examining import examine

__all__ = ["Finding", "Status", "examine"]

__getattr__ = lazily(__name__, {"examine": "innkeeper.host.examining"})
