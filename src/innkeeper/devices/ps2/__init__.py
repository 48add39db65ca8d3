"""What is plugged into a keyboard controller: a PS/2 keyboard and a PS/2 mouse, as conversations in bytes."""

from innkeeper.devices.ps2.keyboard import Keyboard
from innkeeper.devices.ps2.mouse import Mouse
from innkeeper.devices.ps2.scancodes import Translator

__all__ = ["Keyboard", "Mouse", "Translator"]
