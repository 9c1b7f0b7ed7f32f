"""Choosing addresses that nobody has yet, so that a choice depends on little else than who asks.

Law: an address that was given (spec, status, Service object, annotation) is never chosen here and never moved. For one that is
still open, the owner's id is hashed to a place in the pool and the first free place from there on is taken. Adding an owner
therefore seldom moves another one even if nothing was recorded; what makes it *never* is the record: `reconcile` writes every
choice into the objects, and from then on it is given.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address

from ytwin.resources.addresses import AddressRange, subtract


class Exhausted(Exception):
    """Every address of the pool is taken; the caller knows whose problem that is and turns it into a Problem."""


@lru_cache(maxsize=1 << 17)
def number_of(address: str) -> tuple[int, int]:
    """(family, number) of an address: its identity whatever its spelling."""
    parsed = ip_address(address)
    return parsed.version, int(parsed)


@lru_cache(maxsize=1 << 17)
def text_of(version: int, number: int) -> str:
    """Canonical text; one string object per address while it is remembered."""
    return str(IPv4Address(number) if version == 4 else IPv6Address(number))


@lru_cache(maxsize=1 << 17)
def stable_hash(text: str) -> int:
    """64 bits that depend on the text alone, on every machine and in every run."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


_NEAR = 1 << 16


class Pool:
    """Addresses of one family that may be chosen: some ranges without some others."""

    __slots__ = ("_first", "_starts", "ranges", "size", "version")

    def __init__(self, version: int, ranges: Iterable[AddressRange], excluded: Iterable[AddressRange] = ()) -> None:
        self.version = version
        self.ranges = subtract(
            [r for r in ranges if r.version == version], [r for r in excluded if r.version == version]
        )
        self._first: list[int] = [r.first for r in self.ranges]
        self._starts: list[int] = []
        self.size = 0
        for item in self.ranges:
            self._starts.append(self.size)
            self.size += item.size

    def at(self, place: int) -> int:
        """The address at a place, 0 <= place < size."""
        index = bisect_right(self._starts, place) - 1
        return self._first[index] + place - self._starts[index]

    def place_of(self, owner: str) -> int:
        """Where an owner starts to look: near the beginning of a large IPv6 network, so that addresses stay readable."""
        return stable_hash(owner) % min(self.size, _NEAR if self.version == 6 else self.size) if self.size else 0

    def choose(self, start: int, taken: Collection[int]) -> int:
        """The first address not taken from a place on, the pool's end followed by its beginning; Exhausted if there is none."""
        for place in range(start, start + min(self.size, len(taken) + 1)):
            number = self.at(place if place < self.size else place - self.size)
            if number not in taken:
                return number
        raise Exhausted
