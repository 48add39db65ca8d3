"""The commands of the remote protocol, answered from a target.

Spec: "Debugging with GDB", appendix E. Thread N is vCPU N - 1. A machine that stands still is what gdb
expects at every command; it runs only between a resumption and the next stop reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from innkeeper.gdb import monitor
from innkeeper.gdb import registers as regs
from innkeeper.gdb.packets import PACKET_LIMIT
from innkeeper.gdb.target import Stopped, Target, Watching, WatchKind

if TYPE_CHECKING:
    from innkeeper._core import CpuState

OK, UNSUPPORTED = b"OK", b""
BAD_REQUEST, NO_MEMORY = b"E16", b"E0e"  # EINVAL, EFAULT
TRAP, INTERRUPTED = 5, 2
FEATURES = "PacketSize={:x};qXfer:features:read+;vContSupported+;QStartNoAckMode+;hwbreak+;swbreak+"
WATCH_KINDS = {"2": WatchKind.WRITE, "3": WatchKind.READ, "4": WatchKind.ACCESS}
MEMORY_LIMIT = PACKET_LIMIT // 2 - 64
BREAKPOINTS_LIMIT = 4096
WATCH_BYTES_LIMIT = 4096


class Stub:
    """One debugger's session. `answer` gives None for a command whose reply is a stop, later."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._thread = 0  # the vCPU that the next command is about
        self._breakpoints: set[int] = set()
        self._watches: set[Watching] = set()
        self._physical = False  # addresses of memory commands are guest-physical
        self.acknowledges = True
        self.detached = False
        self._commands: dict[str, Callable[[str, bytes], bytes | None]] = {
            "?": lambda _text, _raw: self.stop_reply(self._target.stopped() or Stopped(0)),
            "g": self._read_registers,
            "G": self._write_registers,
            "p": self._read_register,
            "P": self._write_register,
            "m": self._read_memory,
            "M": self._write_memory,
            "X": self._write_memory_raw,
            "c": lambda _text, _raw: self._resume(None),
            "C": lambda _text, _raw: self._resume(None),
            "s": lambda _text, _raw: self._resume(self._thread),
            "S": lambda _text, _raw: self._resume(self._thread),
            "Z": self._insert,
            "z": self._remove,
            "H": self._choose_thread,
            "T": lambda text, _raw: OK if self._vcpu(text) is not None else BAD_REQUEST,
            "D": self._detach,
            "k": self._kill,
            "q": self._query,
            "Q": self._set,
            "v": self._verbose,
        }

    def answer(self, packet: bytes) -> bytes | None:
        """A mistake in a packet is answered with an error, never raised."""
        text = packet.decode("latin-1")
        command = self._commands.get(text[:1])
        if command is None:
            return UNSUPPORTED
        try:
            return command(text[1:], packet[1:])
        except (ValueError, OverflowError):
            return BAD_REQUEST

    def stop_reply(self, stopped: Stopped) -> bytes:
        """Also chooses the thread that stopped."""
        self._thread = min(stopped.vcpu, self._target.vcpus() - 1)
        signal = TRAP if stopped.why else INTERRUPTED
        about = f"thread:{self._thread + 1:x};"
        kind, _, address = stopped.why.partition(" ")
        if kind == "breakpoint":
            about += "hwbreak:;"
        elif address:
            hit = next((watch for watch in self._watches if watch.address == int(address, 16)), None)
            about += f"{hit.kind.value if hit else 'watch'}:{int(address, 16):x};"
        return f"T{signal:02x}{about}".encode()

    def leave(self) -> None:
        """The debugger is gone: nothing stops the guest any more."""
        if not self._target.ended():
            self._target.set_stops(frozenset(), frozenset())
            self._target.resume(None)

    # ---- registers ------------------------------------------------------------------------------

    def _read_registers(self, _text: str, _raw: bytes) -> bytes:
        state = self._target.state(self._thread)
        packed = b"".join(regs.read(state, register).to_bytes(register.size, "little") for register in regs.REGISTERS)
        return packed.hex().encode()

    def _write_registers(self, text: str, _raw: bytes) -> bytes:
        data, state, at = bytes.fromhex(text), self._target.state(self._thread), 0
        for register in regs.REGISTERS:
            piece = data[at : at + register.size]
            at += register.size
            if len(piece) == register.size and int.from_bytes(piece, "little") != regs.read(state, register):
                regs.write(state, register, int.from_bytes(piece, "little"))
        return self._set_state(state)

    def _read_register(self, text: str, _raw: bytes) -> bytes:
        number = int(text, 16)
        if not 0 <= number < len(regs.REGISTERS):
            return BAD_REQUEST
        register = regs.REGISTERS[number]
        return regs.read(self._target.state(self._thread), register).to_bytes(register.size, "little").hex().encode()

    def _write_register(self, text: str, _raw: bytes) -> bytes:
        number, _, value = text.partition("=")
        if not 0 <= int(number, 16) < len(regs.REGISTERS):
            return BAD_REQUEST
        state = self._target.state(self._thread)
        changed = regs.write(state, regs.REGISTERS[int(number, 16)], int.from_bytes(bytes.fromhex(value), "little"))
        return self._set_state(state) if changed else BAD_REQUEST

    def _set_state(self, state: CpuState) -> bytes:
        self._target.set_state(self._thread, state)  # a state that no processor can be in is a ValueError
        return OK

    # ---- memory ---------------------------------------------------------------------------------

    def _read_memory(self, text: str, _raw: bytes) -> bytes:
        address, length = (int(part, 16) for part in text.split(","))
        data = self._target.read(self._space(), address, min(length, MEMORY_LIMIT))
        return data.hex().encode() if data or not length else NO_MEMORY

    def _write_memory(self, text: str, _raw: bytes) -> bytes:
        where, _, data = text.partition(":")
        return self._put(where, bytes.fromhex(data))

    def _write_memory_raw(self, _text: str, raw: bytes) -> bytes:
        where, _, data = raw.partition(b":")
        return self._put(where.decode("latin-1"), data)

    def _space(self) -> int | None:
        """Whose addresses memory commands use."""
        return None if self._physical else self._thread

    def _put(self, where: str, data: bytes) -> bytes:
        address, length = (int(part, 16) for part in where.split(","))
        if length != len(data):
            return BAD_REQUEST
        return OK if not data or self._target.write(self._space(), address, data) else NO_MEMORY

    # ---- going on -------------------------------------------------------------------------------

    def _resume(self, stepping: int | None) -> None:
        self._target.resume(stepping)

    def _insert(self, text: str, _raw: bytes) -> bytes:
        return self._change(text, insert=True)

    def _remove(self, text: str, _raw: bytes) -> bytes:
        return self._change(text, insert=False)

    def _change(self, text: str, *, insert: bool) -> bytes:
        kind, place, extent = text.split(";", 1)[0].split(",")
        address, length = int(place, 16), int(extent, 16)
        if kind in ("0", "1"):
            (self._breakpoints.add if insert else self._breakpoints.discard)(address)
        elif kind in WATCH_KINDS and 0 < length <= WATCH_BYTES_LIMIT:
            watch = Watching(address, length, WATCH_KINDS[kind])
            (self._watches.add if insert else self._watches.discard)(watch)
        else:
            return UNSUPPORTED
        if len(self._breakpoints) + len(self._watches) > BREAKPOINTS_LIMIT:
            self._breakpoints.discard(address)
            return BAD_REQUEST
        self._target.set_stops(frozenset(self._breakpoints), frozenset(self._watches))
        return OK

    def _detach(self, _text: str, _raw: bytes) -> bytes:
        self.detached = True
        return OK

    def _kill(self, _text: str, _raw: bytes) -> bytes:
        self._target.kill()
        self.detached = True
        return OK

    # ---- threads, questions, settings -----------------------------------------------------------

    def _vcpu(self, text: str) -> int | None:
        """The vCPU of a thread's number; 0 and -1 mean any."""
        number = int(text, 16)
        if number in (0, -1):
            return self._thread
        return number - 1 if 0 < number <= self._target.vcpus() else None

    def _choose_thread(self, text: str, _raw: bytes) -> bytes:
        vcpu = self._vcpu(text[1:])
        if vcpu is None:
            return BAD_REQUEST
        self._thread = vcpu
        return OK

    def _query(self, text: str, _raw: bytes) -> bytes:
        name, _, rest = text.partition(",") if text.startswith("Rcmd") else text.partition(":")
        if name == "Xfer":
            return self._transfer(rest)
        if name == "Rcmd":
            words = bytes.fromhex(rest).decode("utf-8", "replace")
            return monitor.answer(self._target, self._thread, words).encode().hex().encode()
        if name.startswith("ThreadExtraInfo,"):
            return self._thread_words(int(name.partition(",")[2], 16) - 1)
        threads = ",".join(f"{vcpu + 1:x}" for vcpu in range(self._target.vcpus()))
        known = {
            "Supported": FEATURES.format(PACKET_LIMIT),
            "Attached": "1",
            "C": f"QC{self._thread + 1:x}",
            "fThreadInfo": f"m{threads}",
            "sThreadInfo": "l",
            "qemu.PhyMemMode": "1" if self._physical else "0",
        }
        return known.get(name, "").encode()

    def _thread_words(self, vcpu: int) -> bytes:
        if not 0 <= vcpu < self._target.vcpus():
            return BAD_REQUEST
        return f"vCPU {vcpu}, {self._target.state(vcpu)['activity']}".encode().hex().encode()

    def _transfer(self, rest: str) -> bytes:
        kind, action, annex, span = rest.split(":")
        if (kind, action, annex) != ("features", "read", "target.xml"):
            return UNSUPPORTED
        start, length = (int(part, 16) for part in span.split(","))
        document = regs.description().encode()
        piece = document[start : start + min(length, PACKET_LIMIT - 16)]
        return (b"m" if start + len(piece) < len(document) else b"l") + piece

    def _set(self, text: str, _raw: bytes) -> bytes:
        if text == "StartNoAckMode":
            self.acknowledges = False
            return OK
        name, _, value = text.partition(":")
        if name == "qemu.PhyMemMode" and value in ("0", "1"):
            self._physical = value == "1"
            return OK
        return UNSUPPORTED

    def _verbose(self, text: str, _raw: bytes) -> bytes | None:
        if text == "Cont?":
            return b"vCont;c;C;s;S"
        if not text.startswith("Cont;"):
            return UNSUPPORTED
        actions = [action.partition(":") for action in text.split(";")[1:]]
        steps = [thread for what, _, thread in actions if what[:1] in ("s", "S")]
        stepping = self._vcpu(steps[0]) if steps and steps[0] else self._thread
        if stepping is None:
            return BAD_REQUEST
        self._target.resume(stepping if steps else None)
        return None
