"""Pools: what they hold, and that a choice depends on little else than who asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ytwin.controllers.allocation import Exhausted, Pool, number_of, stable_hash, subtract, text_of
from ytwin.resources.addresses import AddressRange

ranges = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda p: AddressRange(4, p[0], p[0] + p[1])), max_size=5
)


def members(items: list[AddressRange] | tuple[AddressRange, ...]) -> set[int]:
    return {number for item in items for number in range(item.first, item.last + 1)}


@given(ranges, ranges)
def test_subtract_is_the_difference_of_sets(whole: list[AddressRange], holes: list[AddressRange]) -> None:
    left = subtract(whole, holes)
    assert members(left) == members(whole) - members(holes)
    assert sum(item.size for item in left) == len(members(left))
    assert list(left) == sorted(left)


@given(ranges, ranges)
def test_places_of_a_pool_are_its_addresses_in_order(whole: list[AddressRange], holes: list[AddressRange]) -> None:
    pool = Pool(4, whole, holes)
    assert [pool.at(place) for place in range(pool.size)] == sorted(members(whole) - members(holes))


@given(ranges, st.lists(st.text(max_size=4), unique=True, max_size=40))
def test_a_pool_serves_as_many_owners_as_it_has_addresses(whole: list[AddressRange], owners: list[str]) -> None:
    pool, taken = Pool(4, whole), set[int]()
    for index, owner in enumerate(owners):
        if index == pool.size:
            with pytest.raises(Exhausted):
                pool.choose(pool.place_of(owner), taken)
            break
        number = pool.choose(pool.place_of(owner), taken)
        assert number not in taken
        assert number in members(whole)
        taken.add(number)


@given(st.integers(0, 2**32 - 1), st.integers(2**32, 2**128 - 1))
def test_numbers_and_texts_of_addresses_agree(four: int, six: int) -> None:
    assert number_of(text_of(4, four)) == (4, four)
    assert number_of(text_of(6, six)) == (6, six)


def test_an_empty_pool_is_exhausted() -> None:
    pool = Pool(6, [AddressRange(4, 1, 9)])
    with pytest.raises(Exhausted):
        pool.choose(pool.place_of("a"), set())


def test_the_hash_is_the_same_everywhere() -> None:
    """Addresses of recorded topologies depend on it."""
    assert stable_hash("YusurService/default/ysvc1") == 0x54E6884AC4215C50


def test_an_addition_seldom_moves_others() -> None:
    """Without any record, one owner more in a pool that is a tenth full moves at most a few of the others."""
    pool = Pool(4, [AddressRange(4, 0, 9999)])

    def chosen(owners: list[str]) -> dict[str, int]:
        taken: set[int] = set()
        result = {}
        for owner in sorted(owners):
            result[owner] = pool.choose(pool.place_of(owner), taken)
            taken.add(result[owner])
        return result

    owners = [f"owner{i}" for i in range(1000)]
    before, after = chosen(owners), chosen([*owners, "a newcomer"])
    assert sum(before[owner] != after[owner] for owner in owners) <= 2
