"""The cache in memory: an exact key, bytes counted to the last one, and who goes first."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emr.lane import cache as cache_module
from emr.lane.cache import ENTRY_BYTES, MOST_USES, SECTION_BYTES, Cache, Section
from emr.lane.ticket import Origin, Params, Request
from tests.lane.support import PARAMS, ignore

ORIGIN = Origin(8, "m", "p")
VECTOR = b"v" * 100
AMPLE = 1 << 20
SIZE = ENTRY_BYTES + 4 + len(VECTOR)  # of an entry whose text has four bytes


def asking(
    *texts: bytes, params: Params = PARAMS, space: str = "space", caller: str = "a"
) -> Request:
    request = Request(params, list(texts), caller, 0.0, ignore)
    request.space = space
    return request


def found(cache: Cache, *texts: bytes, **more: str) -> Request:
    """A request that was looked for."""
    request = asking(*texts, **more)
    cache.find(request)
    return request


def keep(cache: Cache, text: bytes, vector: bytes = VECTOR, origin: Origin = ORIGIN) -> Section:
    section = cache.section_of(cache.key_of(asking(text)), origin)
    assert section is not None
    cache.put(section, text, vector)
    return section


def names(numbers: range) -> list[bytes]:
    """Texts of four bytes."""
    return [b"%04d" % number for number in numbers]


def kept(cache: Cache) -> Iterator[tuple[Section, bytes, bytes]]:
    for section in cache._sections.values():
        for text, entry in section.entries.items():
            yield section, text, entry.vector


def check_counts(cache: Cache) -> None:
    """What is counted is the sum of what is there, and inside the room."""
    entries = [entry for section in cache._sections.values() for entry in section.entries.values()]
    rows = [*cache._small, *cache._main]
    assert sorted(map(id, entries)) == sorted(map(id, rows))
    assert len(cache) == len(entries)
    assert cache.bytes == sum([e.size for e in entries]) + SECTION_BYTES * cache.sections
    assert cache.small_bytes == sum([entry.size for entry in cache._small])
    assert {entry.is_small for entry in cache._small} <= {True}
    assert {entry.is_small for entry in cache._main} <= {False}
    assert all(section.entries for section in cache._sections.values())
    assert all(0 <= entry.uses <= MOST_USES for entry in entries)
    assert cache.bytes <= cache.max_bytes


# what is a hit


def test_a_text_that_was_kept_is_found_and_the_very_object_is_given() -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"a"')
    request = found(cache, b'"a"')
    assert request.vectors[0] is VECTOR
    assert (request.cached, request.missing, list(request.wanted)) == (1, 0, [])
    assert (request.ended, request.model, request.origin) == (True, "m", ORIGIN)
    assert request.billed == 0


def test_a_part_is_found_in_its_places_and_equal_texts_all_are() -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"b"', b"[1]")
    request = found(cache, b'"a"', b'"b"', b'"c"', b'"b"')
    assert request.vectors == [b"", b"[1]", b"", b"[1]"]
    assert (request.cached, request.missing, list(request.wanted)) == (2, 2, [0, 2])
    assert not request.ended


def test_nothing_found_leaves_the_request_as_it_was() -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"b"')
    request = found(cache, b'"a"', b'"c"')
    assert (request.cached, request.missing, list(request.wanted)) == (0, 2, [0, 1])
    assert request.origin is None


@pytest.mark.parametrize(
    "params",
    [
        Params("other"), Params("m", input_type="query"), Params("m", input_type="document"),
        Params("m", dimensions=8), Params("m", truncate="end"), Params("m", truncate="none"),
        Params("m", dtype="int8"), Params("m", token_ids=True),
    ],
)  # fmt: skip
def test_no_other_parameters_are_a_hit(params: Params) -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"a"')
    other = asking(b'"a"', params=params)
    cache.find(other)
    assert other.cached == 0


@pytest.mark.parametrize(
    "text", [b'"A"', b'" a"', b'"a "', b'"\\u0061"', b'"a\\u0301"', b"a", b'"a"\n', b""]
)
def test_no_other_text_is_a_hit_however_near(text: bytes) -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"a"')
    assert found(cache, text).cached == 0


def test_no_other_space_is_a_hit() -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"a"')
    assert found(cache, b'"a"', space="another").cached == 0


@pytest.mark.parametrize(("shared", "cached"), [(True, 1), (False, 0)])
def test_keys_share_entries_or_do_not(shared: bool, cached: int) -> None:
    cache = Cache(AMPLE, shared=shared)
    keep(cache, b'"a"')
    assert found(cache, b'"a"', caller="a").cached == 1
    assert found(cache, b'"a"', caller="b").cached == cached
    assert cache.scope == ("shared" if shared else "key")


def test_a_request_that_is_not_for_the_cache_has_no_key() -> None:
    request = asking(b'"a"')
    request.space = None
    with pytest.raises(AssertionError):
        Cache(AMPLE, shared=True).key_of(request)


def test_what_is_there_already_stays() -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"a"', b"[1]")
    keep(cache, b'"a"', b"[2]")
    assert found(cache, b'"a"').vectors == [b"[1]"]
    check_counts(cache)


# models that are exchanged


@pytest.mark.parametrize(
    ("now", "goes"),
    [
        (Origin(8, "m", "p"), False),
        (Origin(8, "m", "other"), False),
        (Origin(9, "m", "p"), True),
        (Origin(7, "m", "other"), True),
        (Origin(8, "m-2", "p"), True),
    ],
)
def test_vectors_of_an_exchanged_model_go(now: Origin, goes: bool) -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"a"', b"[1]")
    keep(cache, b'"b"', b"[2]", now)
    assert found(cache, b'"a"').cached == (0 if goes else 1)
    assert found(cache, b'"b"').vectors == [b"[2]"]
    check_counts(cache)


def test_of_two_names_of_one_model_the_first_stays() -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"a"')
    key = cache.key_of(asking(b'"b"'))
    assert cache.section_of(key, Origin(8, "its name elsewhere", "twin")) is None
    assert found(cache, b'"a"').cached == 1
    assert cache.origin_of(key) == ORIGIN


def test_a_provider_that_is_not_known_any_more_may_have_exchanged_it() -> None:
    cache = Cache(AMPLE, shared=True)
    keep(cache, b'"a"', origin=Origin(8, "m", ""))
    keep(cache, b'"b"', origin=Origin(8, "m-2", "p"))
    assert found(cache, b'"a"').cached == 0


# room


@pytest.mark.parametrize(("spare", "entries"), [(-1, 0), (0, 1), (1, 1)])
def test_an_entry_has_room_or_it_has_not(spare: int, entries: int) -> None:
    cache = Cache(SECTION_BYTES + SIZE + spare, shared=True)
    keep(cache, b"0000")
    assert len(cache) == entries
    check_counts(cache)


@pytest.mark.parametrize(("spare", "entries"), [(-1, 3), (0, 4), (1, 4)])
def test_the_room_is_used_to_the_last_byte(spare: int, entries: int) -> None:
    cache = Cache(SECTION_BYTES + 4 * SIZE + spare, shared=True)
    for text in names(range(4)):
        keep(cache, text)
        check_counts(cache)
    assert (len(cache), cache.evictions) == (entries, 4 - entries)


def test_a_cache_without_room_keeps_nothing() -> None:
    cache = Cache(0, shared=True)
    keep(cache, b'"a"')
    assert (len(cache), cache.bytes, cache.sections) == (0, 0, 0)


def test_what_is_counted_is_what_python_takes_or_more() -> None:
    tracemalloc.start()
    try:
        cache = Cache(1 << 30, shared=True)
        for number in range(5000):
            keep(cache, b"%050d" % number, b"%0900d" % number)
        real = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.85 * cache.bytes <= real <= cache.bytes


def test_a_section_whose_last_entry_goes_while_it_takes_one_comes_back() -> None:
    cache = Cache(SECTION_BYTES + SIZE, shared=True)
    for text in names(range(5)):
        keep(cache, text)
        check_counts(cache)
        assert (len(cache), cache.sections) == (1, 1)
        assert found(cache, text).cached == 1


def test_a_vector_written_anew_is_counted_anew_and_given_from_then_on() -> None:
    cache = Cache(SECTION_BYTES + 3 * SIZE, shared=True)
    for text in names(range(2)):
        keep(cache, text)
    key = cache.key_of(asking(b"0000"))
    cache.rewrite(key, b"0001", b"w" * 50)
    check_counts(cache)
    assert found(cache, b"0001").vectors == [b"w" * 50]
    cache.rewrite(key, b"0001", b"w" * (len(VECTOR) + SIZE + 1))
    check_counts(cache)
    assert len(cache) == 1, "one went: there is a byte too much"
    cache.rewrite(key, b"gone", b"w")
    cache.rewrite(("nowhere", PARAMS, ""), b"0001", b"w")
    check_counts(cache)


def test_clear_lets_go_of_all() -> None:
    cache = Cache(AMPLE, shared=True)
    for text in names(range(10)):
        keep(cache, text)
    cache.clear()
    check_counts(cache)
    assert (len(cache), cache.bytes, cache.evictions) == (0, 0, 0)
    assert found(cache, b"0003").cached == 0


# who goes first


def test_what_was_asked_again_outlives_a_scan() -> None:
    cache = Cache(SECTION_BYTES + 100 * SIZE, shared=True)
    for text in names(range(10)):
        keep(cache, text)
        found(cache, text)
    for text in names(range(1000, 2000)):
        keep(cache, text)
    check_counts(cache)
    assert found(cache, *names(range(10))).cached == 10
    assert cache.evictions == 1010 - len(cache)


def test_a_text_that_comes_back_soon_stands_in_main_at_once() -> None:
    cache = Cache(SECTION_BYTES + 20 * SIZE, shared=True)
    for text in names(range(30)):
        keep(cache, text)
    gone = [text for text in names(range(30)) if found(cache, text).cached == 0]
    assert gone
    keep(cache, gone[-1])
    assert [entry.text for entry in cache._main][-1] == gone[-1]
    check_counts(cache)


def test_an_eviction_ends_when_all_were_asked_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MOST_LOOKS", 3)
    cache = Cache(SECTION_BYTES + 50 * SIZE, shared=True)
    for text in names(range(50)):
        keep(cache, text)
    for _ in range(MOST_USES):
        found(cache, *names(range(50)))
    keep(cache, b"more")
    check_counts(cache)
    assert (len(cache), cache.evictions) == (50, 1)
    looked_at = [entry for entry in cache._main if entry.uses == 0]
    assert len(looked_at) == 3, "the next one went whatever its count"


# anything, in any order

SPACES = ["s", "t"]
LANES = [PARAMS, Params("m", input_type="query"), Params("m", dimensions=2)]
ORIGINS = [ORIGIN, Origin(8, "m", "q"), Origin(4, "m", "p"), Origin(8, "n", "p")]
places = st.tuples(
    st.sampled_from(SPACES), st.sampled_from(LANES), st.sampled_from(["a", "b"]),
    st.integers(0, 12).map(lambda number: b'"%d"' % number),
)  # fmt: skip
lines = st.one_of(
    st.tuples(st.just("keep"), places, st.sampled_from(ORIGINS), st.integers(1, 300)),
    st.tuples(st.just("find"), places),
    st.tuples(st.just("rewrite"), places, st.integers(1, 300)),
    st.tuples(st.just("clear")),
)


@settings(max_examples=200, deadline=None)
@given(script=st.lists(lines, max_size=80), room=st.integers(0, 6000), shared=st.booleans())
def test_whatever_happens_a_hit_is_what_was_kept_last_for_that_very_key(
    script: list[Any], room: int, shared: bool
) -> None:
    cache = Cache(room, shared=shared)
    told: dict[object, tuple[bytes, Origin]] = {}  # what may be found for a key
    for number, (act, *rest) in enumerate(script):
        if act == "clear":
            cache.clear()
            told.clear()
            continue
        space, params, caller, text = rest[0]
        request = asking(text, params=params, space=space, caller=caller)
        key = cache.key_of(request)
        assert key == (space, params, "" if shared else caller)
        if act == "find":
            cache.find(request)
            if request.cached:
                vector, origin = told[key, text]
                assert request.vectors == [vector]
                assert request.origin is not None
                assert request.origin.is_of(origin)
        elif act == "rewrite":
            if text in [each for section, each, _ in kept(cache) if section.key == key]:
                told[key, text] = (b"%d:" % number + b"r" * rest[1], told[key, text][1])
                cache.rewrite(key, text, told[key, text][0])
        else:
            origin, size = rest[1], rest[2]
            section = cache.section_of(key, origin)
            if section is not None:
                there = {each for of, each, _ in kept(cache) if of.key == key}
                vector = b"%d:" % number + b"v" * size
                cache.put(section, text, vector)
                if text not in there:
                    told[key, text] = (vector, origin)
        check_counts(cache)
