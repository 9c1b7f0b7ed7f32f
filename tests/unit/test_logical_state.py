"""The packet: overlaid registers, slices, builders."""

from __future__ import annotations

import pytest

from ytwin.logical.addresses import ip_int, mac_int, prefix_length, prefix_mask
from ytwin.logical.fields import SYMBOLS, FieldRef, parts, root
from ytwin.logical.state import PacketState, arp_reply, neighbor_advertisement, transport


def test_registers_overlay_with_the_lower_number_more_significant() -> None:
    state = PacketState()
    state.set(FieldRef("xxreg0", 0, 128), 0x00112233_44556677_8899AABB_CCDDEEFF)
    assert [state.reg0, state.reg1, state.reg2, state.reg3] == [0x00112233, 0x44556677, 0x8899AABB, 0xCCDDEEFF]
    assert state.get(FieldRef("xreg0", 0, 64)) == 0x00112233_44556677
    assert state.get(FieldRef("xxreg0", 16, 64)) == 0x6677_8899AABB_CCDD
    state.set(FieldRef("xreg4", 0, 64), 0x1_00000002)
    assert (state.reg8, state.reg9) == (1, 2)
    state.set(FieldRef("xreg1", 24, 16), 0xABCD)
    assert (state.reg2, state.reg3) == (0x8899AAAB, 0xCDDDEEFF)


def test_a_write_leaves_all_other_bits() -> None:
    state = PacketState(reg0=0xFFFFFFFF)
    state.set(FieldRef("reg0", 4, 8), 0x100)
    assert state.reg0 == 0xFFFFF00F
    state.set(FieldRef("flags.loopback", 0, 1), 1)
    state.set(FieldRef("ct_label.ecmp_reply_eth", 0, 48), mac_int("0a:00:00:00:00:01"))
    assert state.flags == 1
    assert state.ct_label == 0x0A0000000001 << 32


def test_roots_and_parts() -> None:
    assert root(FieldRef("reg0", 2, 1)) == FieldRef("xxreg0", 98, 1)
    assert root(FieldRef("ct.est", 0, 1)) == FieldRef("ct_state", 1, 1)
    assert [part.slot for part in parts(FieldRef("xxreg1", 0, 128))] == ["reg7", "reg6", "reg5", "reg4"]
    with pytest.raises(KeyError):
        parts(FieldRef("ip4", 0, 1))
    for name, symbol in SYMBOLS.items():
        if symbol.width and not symbol.predicate:
            assert sum(part.width for part in parts(symbol.ref())) == symbol.width, name


def test_copies_are_independent_and_keys_tell_packets_apart() -> None:
    packet = transport("udp", "p", ("00:00:00:00:00:01", "00:00:00:00:00:02"), ("fd00::1", "fd00::2"), (1, 2))
    twin = packet.copy()
    assert twin == packet
    assert twin.key() == packet.key()
    twin.reg5 = 1
    assert twin != packet
    assert packet.reg5 == 0
    assert (packet.ip_src, packet.ip_dst, packet.is_ipv6) == (ip_int("fd00::1"), ip_int("fd00::2"), True)
    twin.clear_registers()
    twin.ct_state, twin.ct_mark = 33, 2
    twin.clear_ct()
    assert twin == packet
    assert "tp_dst=2" in repr(packet)


def test_replies() -> None:
    eth = ("00:00:00:00:00:01", "00:00:00:00:00:02")
    reply = arp_reply("p", eth, ("10.0.0.1", "10.0.0.2"))
    assert (reply.arp_op, reply.arp_tha, reply.eth_dst) == (2, 2, 2)
    advert = neighbor_advertisement("p", eth, ("fd00::1", "fd00::2"))
    assert (advert.icmp_type, advert.nd_target, advert.nd_tll, advert.ip_ttl) == (136, ip_int("fd00::1"), 1, 255)


def test_prefixes() -> None:
    assert prefix_mask(24, 32) == 0xFFFFFF00
    assert prefix_length(0xFFFFFF00, 32) == 24
    assert prefix_length(0xFF00FF00, 32) is None
    with pytest.raises(ValueError, match="zone"):
        ip_int("fe80::1%eth0")
    with pytest.raises(ValueError, match="MAC"):
        mac_int("0a:0:0:0:0:1")
