"""Which backend OVS's select groups choose: held against their arithmetic, and against OVS 3.1.0."""

from __future__ import annotations

from ipaddress import IPv4Address

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from ytwin.datapath.costs import uses_dp_hash
from ytwin.datapath.groups import _add, _finish, _hash_int, by_score, by_slots, slot_table
from ytwin.sim.streams import Streams
from ytwin.verify.lints.services import dp_hash_shares


def hashes(count: int, seed: int = 1) -> npt.NDArray[np.uint32]:
    return Streams(seed).generator("hashes").integers(0, 1 << 32, count, dtype=np.uint32)


def test_slots_of_equal_backends_are_what_the_lint_says():
    for backends in range(1, 300):
        table, shares = slot_table((1,) * backends), dp_hash_shares(backends)
        assert (table is None) == (shares is None)
        if table is not None:
            counts = np.bincount(table, minlength=backends)
            assert (max(counts), min(counts)) == shares


@given(st.lists(st.integers(0, 100), min_size=1, max_size=12).filter(any))
@settings(max_examples=100, deadline=None)
def test_slots_follow_weights(weights):
    table = slot_table(weights)
    assert (table is not None) == uses_dp_hash(tuple(weights))
    if table is None:
        return
    assert len(table) & (len(table) - 1) == 0
    counts = np.bincount(table, minlength=len(weights))
    # What makes an apportionment Webster's: no slot would serve another bucket better (Balinski and Young 1982).
    for a, b in ((a, b) for a in range(len(weights)) for b in range(len(weights)) if counts[a] and a != b):
        assert weights[a] / (2 * counts[a] - 1) >= weights[b] / (2 * counts[b] + 1) - 1e-12


def test_equal_backends_get_slots_in_turns():
    assert slot_table((100,) * 5) == (0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0)


@pytest.mark.parametrize("backends", [2, 3, 5, 10, 48, 100])
def test_shares_of_drawn_packets_are_the_slots(backends):
    chosen = by_slots(backends, hashes(100_000))
    table = slot_table((1,) * backends)
    assert table is not None
    expected = np.bincount(table, minlength=backends) / len(table) * 100_000
    assert chisquare(np.bincount(chosen, minlength=backends), expected).pvalue > 1e-3


@pytest.mark.parametrize("backends", [2, 3, 5, 10, 48])
def test_the_highest_score_is_shared_evenly_but_for_equal_ones(backends):
    count, levels = 200_000, 1 << 16
    v = np.arange(levels) / levels
    # The winner is at a level with all before it at most there, and all behind it below.
    expected = [count * np.mean((v + 1 / levels) ** i * v ** (backends - 1 - i)) for i in range(backends)]
    assert sum(expected) == pytest.approx(count)
    observed = np.bincount(by_score(backends, hashes(count)), minlength=backends)
    assert chisquare(observed, expected).pvalue > 1e-3


@pytest.mark.parametrize(("word", "expected"), [(0, 0x2362F9DE), (0xFFFFFFFF, 0x76293B50), (0x87654321, 0xF55B516B)])
def test_the_hash_is_murmur3(word, expected):
    # Published vectors of MurmurHash3_x86_32 over one word, seed 0; the length of four bytes goes into the end.
    with np.errstate(over="ignore"):
        state = _add(np.zeros(1, np.uint32), np.array([word], np.uint32))
        assert int(_finish(state ^ np.uint32(4))[0]) == expected


OBSERVED = {
    "10.0.0.1": ((41105, 41186, 48633, 63437, 28349, 3432, 9154, 14657, 62287, 8685, 32785, 47006), 3),
    "10.0.0.2": ((40791, 31999, 49812, 52306, 22041, 4641, 39624, 30697, 21232, 1922, 58177, 39727), 10),
    "192.168.7.33": ((45383, 40388, 20405, 15641, 64786, 33266, 34030, 22246, 4446, 50464, 14769, 3162), 4),
}
"""nw_src -> scores of 12 buckets of weight 1 and the one taken, as `ovs-appctl ofproto/trace` of OVS 3.1.0 tells them for a group
with `selection_method=hash,fields(ip_src)`."""


@pytest.mark.parametrize("address", OBSERVED)
def test_scores_are_those_of_ovs(address):
    with np.errstate(over="ignore"):
        # pick_hash_fields_select_group: hash_bytes(address, 4, hash_uint64(0)).
        start = _finish(_add(_add(np.zeros(1, np.uint32), np.uint32(0)), np.uint32(0)) ^ np.uint32(8))
        word = np.array([int.from_bytes(IPv4Address(address).packed, "little")], np.uint32)
        basis = _finish(_add(start, word) ^ np.uint32(4))
    scores, taken = OBSERVED[address]
    assert tuple(int(_hash_int(bucket, basis)[0]) & 0xFFFF for bucket in range(12)) == scores
    assert by_score(12, basis)[0] == taken


def test_slots_are_those_of_ovs():
    # `ofproto/trace` with dp_hash=16 to 31 on a dp_hash group of 12 buckets, OVS 3.1.0.
    observed = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3)
    assert tuple(by_slots(12, np.arange(16, 32, dtype=np.uint32))) == observed


def test_more_than_256_slots_are_refused():
    with pytest.raises(ValueError, match="no dp_hash table for 257"):
        by_slots(257, hashes(1))
