"""Packets survive the wire, whole or in pieces, and damage is noticed."""

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gdb.packets import INTERRUPT, PACKET_LIMIT, Decoder, encode


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(1, 7))
def test_what_is_encoded_comes_back_however_it_is_cut(packets: list[bytes], size: int) -> None:
    stream, decoder = b"+".join(map(encode, packets)), Decoder()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [packet for piece in pieces for packet in decoder.feed(piece)] == packets


@given(st.binary(max_size=200))
def test_noise_never_raises(noise: bytes) -> None:
    for packet in Decoder().feed(noise):
        assert packet is None or isinstance(packet, bytes)


def test_a_damaged_packet_is_told_from_a_good_one() -> None:
    assert list(Decoder().feed(b"$g#00$g#67")) == [None, b"g"]


def test_an_interrupt_stands_between_packets() -> None:
    assert list(Decoder().feed(b"+\x03$?#3f")) == [INTERRUPT, b"?"]


def test_a_packet_without_end_does_not_grow_for_ever() -> None:
    decoder = Decoder()
    assert list(decoder.feed(b"$" + b"a" * (PACKET_LIMIT + 8))) == [None]
    assert list(decoder.feed(encode(b"?"))) == [b"?"]
