"""All that can be found out about a host, one finding after the other."""

from collections.abc import Mapping
from typing import Any

from innkeeper.host.finding import Finding
from innkeeper.host.kvm import find_kvm
from innkeeper.host.memory import find_huge_pages, find_memory
from innkeeper.host.namespaces import find_tap, find_user_namespaces, try_namespaces
from innkeeper.host.packages import find_firmware, find_image_tools, find_network_tools
from innkeeper.host.processor import find_processor
from innkeeper.host.translation import find_translation


def examine(kvm_probe: Mapping[str, Any], features: Mapping[str, bool], bt_unavailable: str | None) -> list[Finding]:
    """Examines all of it. The arguments are what the Rust core found out about KVM and the processor."""
    namespaces = try_namespaces()
    return [
        find_processor(features),
        find_kvm(kvm_probe),
        find_translation(bt_unavailable),
        find_memory(),
        find_huge_pages(),
        find_user_namespaces(namespaces),
        find_tap(namespaces),
        find_firmware(),
        find_image_tools(),
        find_network_tools(),
    ]
