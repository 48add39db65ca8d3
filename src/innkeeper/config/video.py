"""Which graphics card a machine has, in virt-install's words: `--video vga`, `--video virtio`."""

from enum import StrEnum


class VideoModel(StrEnum):
    """A graphics card."""

    VGA = "vga"  # with Bochs's extensions, as QEMU's
    VIRTIO = "virtio"  # no VGA: nothing on it before the guest has a driver
    NONE = "none"
