"""Which graphics card a machine has, in virt-install's word: `--video vga`."""

from enum import StrEnum


class VideoModel(StrEnum):
    """A graphics card."""

    VGA = "vga"  # with Bochs's extensions, as QEMU's
    NONE = "none"
