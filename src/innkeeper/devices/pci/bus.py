"""PCI bus 0: which function answers at which device and function number."""

from threading import Lock

from innkeeper.bus import Buses, ones
from innkeeper.devices.pci.config_space import PciFunction

SLOTS = 32
FUNCTIONS = 8


class PciBus:
    """Up to 32 devices of up to 8 functions. Nobody there reads as all ones."""

    def __init__(self, buses: Buses) -> None:
        self._buses = buses
        self._functions: dict[tuple[int, int], PciFunction] = {}
        self._lock = Lock()  # functions come and go while vCPUs look at others

    def plug(self, slot: int, function: PciFunction, number: int = 0) -> None:
        """Raises `ValueError` if the place does not exist or is taken."""
        with self._lock:
            if not (0 <= slot < SLOTS and 0 <= number < FUNCTIONS) or (slot, number) in self._functions:
                raise ValueError(f"PCI function {slot:02x}.{number} does not exist or is taken")
            self._functions[slot, number] = function
            function.plug(self._buses)

    def unplug(self, slot: int, number: int = 0) -> bool:
        """Takes a function off the bus; false if there is none."""
        with self._lock:
            function = self._functions.pop((slot, number), None)
            if function is not None:
                function.unplug()
        return function is not None

    def unplug_all(self) -> None:
        for slot, number in self.functions():
            self.unplug(slot, number)

    def functions(self) -> dict[tuple[int, int], PciFunction]:
        with self._lock:
            return dict(self._functions)

    def read_config(self, device: int, offset: int, size: int) -> int:
        """`device` is slot and function number as in CONFIG_ADDRESS bits 15-8."""
        with self._lock:
            function = self._functions.get((device >> 3, device & 7))
            return ones(size) if function is None else function.read_config(offset, size)

    def write_config(self, device: int, offset: int, size: int, value: int) -> None:
        with self._lock:
            function = self._functions.get((device >> 3, device & 7))
            if function is not None:
                function.write_config(offset, size, value)
