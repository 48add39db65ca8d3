"""The 16550A, register by register, as its datasheet and Linux's driver have it."""

import pytest

from innkeeper.devices import uart as chip
from innkeeper.devices.uart import FCR, IER, IIR, LCR, LSR, MCR, MSR, RBR, SCR, THR, Uart
from innkeeper.testing import FakeIrqLine


class Sink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes, /) -> None:
        self.data += data


class Port:
    """A UART with its surroundings, and byte-wide accesses."""

    def __init__(self) -> None:
        self.irq = FakeIrqLine()
        self.sink = Sink()
        self.uart = Uart(self.irq, self.sink)

    def __getitem__(self, offset: int) -> int:
        return self.uart.read(offset, 1)

    def __setitem__(self, offset: int, value: int) -> None:
        self.uart.write(offset, 1, value)


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def gated(port: Port) -> Port:
    """With OUT2 set, as a driver does: interrupts reach the line."""
    port[MCR] = chip.MCR_OUT2
    return port


def test_a_byte_written_to_the_transmitter_reaches_the_console(port: Port) -> None:
    port[THR] = ord("!")

    assert port.sink.data == b"!"
    assert port[LSR] == chip.LSR_THR_EMPTY | chip.LSR_IDLE


def test_the_divisor_latch_hides_the_transmitter(port: Port) -> None:
    port[LCR] = chip.LCR_DIVISOR_LATCH
    port[chip.DLL], port[chip.DLM] = 0x01, 0x02
    assert (port[chip.DLL], port[chip.DLM]) == (0x01, 0x02)

    port[LCR] = 0x03
    port[THR] = ord("x")

    assert port.sink.data == b"x"
    assert port[IER] == 0


def test_received_bytes_come_in_order(port: Port) -> None:
    port.uart.receive(b"ab")

    assert port[LSR] & chip.LSR_DATA_READY
    assert (port[RBR], port[RBR]) == (ord("a"), ord("b"))
    assert not port[LSR] & chip.LSR_DATA_READY


def test_an_empty_receiver_reads_as_zero(port: Port) -> None:
    assert port[RBR] == 0


def test_fifos_show_in_the_identification(port: Port) -> None:
    assert port[IIR] == chip.IIR_NONE

    port[FCR] = chip.FCR_ENABLE

    assert port[IIR] == chip.IIR_NONE | chip.IIR_FIFOS_ON


def test_enabling_the_transmit_interrupt_raises_it_once(gated: Port) -> None:
    gated[IER] = chip.IER_THR_EMPTY
    assert gated.irq.is_high()

    assert gated[IIR] == chip.IIR_THR_EMPTY

    assert not gated.irq.is_high()
    assert gated[IIR] == chip.IIR_NONE


def test_each_byte_sent_raises_the_transmit_interrupt_again(gated: Port) -> None:
    gated[IER] = chip.IER_THR_EMPTY
    assert gated[IIR] == chip.IIR_THR_EMPTY

    gated[THR] = ord("z")

    assert gated.irq.is_high()
    assert gated.irq.edges == 2
    assert gated.sink.data == b"z"


def test_received_data_holds_the_line_until_it_is_read(gated: Port) -> None:
    gated[IER] = chip.IER_RECEIVED
    gated.uart.receive(b"a")
    assert gated.irq.is_high()
    assert gated[IIR] == chip.IIR_RECEIVED

    assert gated[RBR] == ord("a")

    assert not gated.irq.is_high()


def test_data_below_the_trigger_level_is_a_timeout(gated: Port) -> None:
    gated[FCR] = chip.FCR_ENABLE | 0x80  # trigger at 8
    gated[IER] = chip.IER_RECEIVED

    gated.uart.receive(b"1234567")
    assert gated[IIR] & 0x0F == chip.IIR_TIMEOUT
    gated.uart.receive(b"8")

    assert gated[IIR] & 0x0F == chip.IIR_RECEIVED


def test_line_errors_come_before_data_and_data_before_transmission(gated: Port) -> None:
    gated[IER] = 0x0F
    gated.uart.receive_break()

    assert gated[IIR] == chip.IIR_LINE_STATUS
    assert gated[LSR] & chip.LSR_BREAK
    assert gated[IIR] == chip.IIR_RECEIVED
    assert gated[RBR] == 0
    assert gated[IIR] == chip.IIR_THR_EMPTY
    assert gated[IIR] == chip.IIR_NONE


def test_reading_the_line_status_clears_its_errors(port: Port) -> None:
    port.uart.receive_break()

    assert port[LSR] & chip.LSR_BREAK
    assert not port[LSR] & chip.LSR_BREAK


def test_without_out2_no_interrupt_reaches_the_bus(port: Port) -> None:
    port[IER] = chip.IER_RECEIVED
    port.uart.receive(b"a")
    assert not port.irq.is_high()

    port[MCR] = chip.MCR_OUT2

    assert port.irq.is_high()


def test_loopback_returns_what_is_sent_and_keeps_the_line_out(port: Port) -> None:
    port[MCR] = chip.MCR_LOOPBACK
    port[THR] = 0x55
    port.uart.receive(b"x")

    assert port[RBR] == 0x55
    assert port[RBR] == 0
    assert port.sink.data == b""


def test_loopback_wires_modem_outputs_to_inputs(port: Port) -> None:
    port[MCR] = chip.MCR_LOOPBACK | chip.MCR_RTS | chip.MCR_OUT2

    assert port[MSR] & 0xF0 == chip.MSR_CTS | chip.MSR_DCD


def test_modem_changes_are_noted_until_read(gated: Port) -> None:
    gated[IER] = chip.IER_MODEM_STATUS
    gated[MCR] = chip.MCR_LOOPBACK
    gated[MCR] = chip.MCR_OUT2  # the peer is back
    assert gated.irq.is_high()
    assert gated[IIR] == chip.IIR_MODEM_STATUS

    assert gated[MSR] == chip.PEER_READY | 0x0B

    assert gated[MSR] == chip.PEER_READY
    assert not gated.irq.is_high()


def test_clearing_the_receiver_drops_only_what_is_in_the_fifo(port: Port) -> None:
    port[FCR] = chip.FCR_ENABLE
    port.uart.receive(bytes(range(20)))

    port[FCR] = chip.FCR_ENABLE | chip.FCR_CLEAR_RECEIVER

    assert [port[RBR] for _ in range(4)] == [16, 17, 18, 19]
    assert not port[LSR] & chip.LSR_DATA_READY


def test_more_than_the_backlog_overruns(port: Port) -> None:
    port.uart.receive(bytes(chip.BACKLOG_LIMIT))
    assert not port[LSR] & chip.LSR_OVERRUN

    port.uart.receive(b"x")

    assert port[LSR] & chip.LSR_OVERRUN
    assert not port[LSR] & chip.LSR_OVERRUN


def test_the_scratch_register_remembers(port: Port) -> None:
    port[SCR] = 0xA5

    assert port[SCR] == 0xA5


def test_status_registers_cannot_be_written(port: Port) -> None:
    before = port[LSR], port[MSR]

    port[LSR], port[MSR] = 0xFF, 0xFF

    assert (port[LSR], port[MSR]) == before


def test_a_wide_access_is_bytes_side_by_side(port: Port) -> None:
    port.uart.write(SCR - 1, 2, 0xA500)

    assert port.uart.read(SCR - 1, 2) == 0xA5 << 8 | chip.PEER_READY


def test_linux_autoconfiguration_finds_a_16550a(port: Port) -> None:
    """The steps of 8250_port.c that tell chips apart."""
    port[IER] = 0x0F
    assert port[IER] == 0x0F
    port[IER] = 0
    port[MCR] = chip.MCR_LOOPBACK | 0x0A
    assert port[MSR] & 0xF0 == 0x90
    port[MCR] = 0
    port[FCR] = chip.FCR_ENABLE
    assert port[IIR] >> 6 == 3
    port[LCR] = 0xBF
    assert port[2] != 0  # no enhanced feature register
    port[LCR] = 0
    port[FCR] = chip.FCR_ENABLE | 0x20  # a 16750 would keep this bit
    assert not port[IIR] & 0x20
