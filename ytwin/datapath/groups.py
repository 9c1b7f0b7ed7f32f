"""Which bucket of a select group OVS takes: how a Service's connections are shared out, and which change when backends do.

- dp_hash (OVS 3.1, ofproto-dpif.c, group_setup_dp_hash_table; ofproto-dpif-xlate.c, pick_dp_hash_select_group): a table of a
  power of two of slots, at least 16, shared out by Webster's method; the datapath's hash of the packet, masked, is the slot.
- a hash over fields (pick_hash_fields_select_group, group_best_live_bucket): the bucket with the highest score wins, its score
  is the lower 16 bits of a hash of the bucket's number with the fields' hash as basis; among equals the last one.

OVN numbers a load balancer's buckets in the order of its backends from 0 (OVN 23.03, lib/actions.c, encode_CT_LB), so that a
backend that leaves renumbers those behind it. Hashes of packets are taken as evenly spread: the caller draws them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ytwin.datapath.costs import DP_HASH_MIN_SLOTS, uses_dp_hash

Words = npt.NDArray[np.uint32]
Indexes = npt.NDArray[np.int64]

_SCORE = np.uint32(0xFFFF)


def slot_table(weights: Sequence[int]) -> tuple[int, ...] | None:
    """Slot -> place of its bucket; None if OVS does not use dp_hash for a group of these weights.

    Webster's method: slots go one by one to the bucket with the highest weight / (2 * slots it has + 1), the first among equals.
    """
    if not uses_dp_hash(tuple(weights)):
        return None
    least = min(weight for weight in weights if weight > 0)
    slots = max(DP_HASH_MIN_SLOTS, 1 << (-(-sum(weights) // least) - 1).bit_length())
    divisors, values = [1] * len(weights), [float(weight) for weight in weights]
    table = []
    for _ in range(slots):
        winner = max(range(len(weights)), key=values.__getitem__)  # the first of the highest
        table.append(winner)
        divisors[winner] += 2
        values[winner] = weights[winner] / divisors[winner]
    return tuple(table)


def by_slots(backends: int, hashes: Words) -> Indexes:
    """The backend of each packet hash, for a dp_hash group of equal weights. ValueError where OVS does not use dp_hash."""
    table = slot_table((1,) * backends)
    if table is None:
        raise ValueError(f"OVS has no dp_hash table for {backends} backends")
    found: Indexes = np.array(table, dtype=np.int64)[hashes & np.uint32(len(table) - 1)]
    return found


def by_score(backends: int, bases: Words) -> Indexes:
    """The backend of each hash of fields, for a group of equal weights."""
    best: Indexes = np.zeros(len(bases), dtype=np.int64)
    highest = np.zeros(len(bases), dtype=np.uint32)
    for bucket in range(backends):
        score = _hash_int(bucket, bases) & _SCORE
        better = score >= highest
        best[better], highest[better] = bucket, score[better]
    return best


def _hash_int(word: int, bases: Words) -> Words:
    """OVS's hash_int(word, basis), MurmurHash3 (lib/hash.h); OVS built for SSE 4.2 has another, as evenly spread."""
    with np.errstate(over="ignore"):
        return _finish(_add(_add(np.full(len(bases), word, np.uint32), np.uint32(0)), bases) ^ np.uint32(8))


def _rotated(words: Words, bits: int) -> Words:
    return (words << np.uint32(bits)) | (words >> np.uint32(32 - bits))


def _add(state: Words, word: Words | np.uint32) -> Words:
    mixed = _rotated(np.asarray(word * np.uint32(0xCC9E2D51)), 15) * np.uint32(0x1B873593)
    return _rotated(state ^ mixed, 13) * np.uint32(5) + np.uint32(0xE6546B64)


def _finish(state: Words) -> Words:
    state = (state ^ (state >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    state = (state ^ (state >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return state ^ (state >> np.uint32(16))
