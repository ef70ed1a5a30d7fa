"""The caps of a call: what each size error teaches, and that size errors come to an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emr.lane.caps import LEAST_BYTES, USED, Caps
from emr.lane.settings import AccountSpec
from emr.lane.ticket import Batch, Params
from emr.lane.verdict import Ending, Verdict
from tests.lane.support import PARAMS, batch_of, request_of, sized, text, town
from tests.sim.model import End, Named, Provider, Script, Seen, TakesAtMost
from tests.sim.world import World

SPEC = AccountSpec("voyage", "m", max_texts=128, max_tokens=100_000, max_bytes=1_000_000)
TOKEN_IDS = Params("m", token_ids=True)


def size_error(ending: Ending, cap: int | None = None, got: int | None = None) -> Verdict:
    return Verdict(ending, 400, "too large", cap=cap, got=got)


def weighed(caps: Caps, texts: int, size: int, params: Params = PARAMS) -> Batch:
    """A batch of equal texts, weighed by the estimates of `caps`."""
    request = request_of(*[b"x" * size] * texts, params=params)
    request.tokens = caps.weigh(request.texts, token_ids=params.token_ids)
    return batch_of(request)


def test_nine_tenths_of_the_token_cap_are_used() -> None:
    assert Caps(SPEC).max_tokens == int(100_000 * USED)


# estimates


@pytest.mark.parametrize(
    ("texts", "tokens"),
    [
        ([b'""'], [1]),
        ([b'"a"'], [1]),
        ([b'"' + b"a" * 100 + b'"'], [36]),
        ([b'"a"', b'"b"'], [1, 1]),
    ],
)
def test_tokens_are_estimated_from_bytes(texts: list[bytes], tokens: list[int]) -> None:
    assert Caps(SPEC).weigh(texts, token_ids=False) == tokens


def test_token_ids_are_counted() -> None:
    assert Caps(SPEC).weigh([b"[1]", b"[1,2,3]"], token_ids=True) == [1, 3]


def test_the_ratio_follows_what_is_billed_and_never_passes_a_token_a_byte() -> None:
    caps = Caps(SPEC)
    for _ in range(200):
        caps.succeeded(weighed(caps, 4, 100), 200, 0.0)
    assert caps.tokens_a_byte == pytest.approx(0.5, abs=0.05)
    for _ in range(200):
        caps.succeeded(weighed(caps, 4, 100), 4000, 0.0)
    assert caps.tokens_a_byte == pytest.approx(1.0, abs=0.02)
    assert caps.tokens_a_byte <= 1.0


@pytest.mark.parametrize("billed", [None, 0])
def test_a_bill_that_says_nothing_teaches_nothing(billed: int | None) -> None:
    caps = Caps(SPEC)
    for _ in range(50):
        caps.succeeded(weighed(caps, 4, 100), billed, 0.0)
    assert caps.tokens_a_byte == SPEC.tokens_a_byte


def test_token_ids_teach_nothing_about_bytes() -> None:
    caps = Caps(SPEC)
    caps.succeeded(weighed(caps, 4, 100, TOKEN_IDS), 4, 0.0)
    caps.refused(weighed(caps, 4, 100, TOKEN_IDS), size_error(Ending.SIZE_TOKENS, 1, 4))
    assert caps.tokens_a_byte == SPEC.tokens_a_byte


def test_the_largest_success_is_of_the_last_minute() -> None:
    caps = Caps(SPEC)
    assert caps.largest_success(100.0) == 0
    caps.succeeded(batch_of(sized(50)), None, 100.0)
    caps.succeeded(batch_of(sized(20)), None, 110.0)
    assert caps.largest_success(160.0) == 50
    assert caps.largest_success(160.1) == 20
    assert caps.largest_success(170.1) == 0


# what an error teaches


@pytest.mark.parametrize(
    ("named", "learned"),
    [(None, 50), (96, 96), (99, 99), (100, 99), (500, 99), (1, 1), (0, 1), (-3, 1)],
)
def test_texts(named: int | None, learned: int) -> None:
    caps = Caps(SPEC)
    caps.refused(batch_of(sized(100)), size_error(Ending.SIZE_ITEMS, named, 100))
    assert caps.max_texts == learned


def test_a_cap_never_grows_again() -> None:
    caps = Caps(SPEC)
    caps.refused(batch_of(sized(100)), size_error(Ending.SIZE_ITEMS, 10))
    caps.refused(batch_of(sized(100)), size_error(Ending.SIZE_ITEMS, 60))
    assert caps.max_texts == 10
    caps.refused(batch_of(sized(100, size=1000)), size_error(Ending.SIZE_BYTES))
    caps.refused(batch_of(sized(100, size=5000)), size_error(Ending.SIZE_BYTES))
    assert caps.max_bytes == 50_000


@pytest.mark.parametrize(
    ("named", "got", "tokens", "ratio"),
    [
        (None, None, 3500 // 2, 0.35),
        (3000, 7000, 2700, 0.70),  # counted twice what was estimated
        (3000, None, 2700, 0.35),  # fewer than estimated, and yet too many
        (3500, None, 3150, 0.3501),  # at least the cap and one, so more than estimated
        (9000, 5000, 4999, 0.50),  # it says that there is room, and refuses all the same
        (3000, 100, 2700, 0.35),  # a count under the estimate says nothing
    ],
)
def test_tokens(named: int | None, got: int | None, tokens: int, ratio: float) -> None:
    caps = Caps(SPEC)
    batch = weighed(caps, 100, 100)
    assert batch.tokens == 3500
    caps.refused(batch, size_error(Ending.SIZE_TOKENS, named, got))
    assert caps.tokens_a_byte == pytest.approx(ratio, rel=0.02)
    assert caps.max_tokens == pytest.approx(tokens, rel=0.02)


def test_calls_that_were_out_together_correct_the_estimate_once() -> None:
    caps = Caps(SPEC)
    batches = [weighed(caps, 100, 100) for _ in range(16)]
    for batch in batches:
        caps.refused(batch, size_error(Ending.SIZE_TOKENS, 3000, 7000))
    assert caps.tokens_a_byte == pytest.approx(0.70, rel=0.02)
    assert caps.max_tokens == 2700


def test_bytes_are_halved() -> None:
    caps = Caps(SPEC)
    caps.refused(batch_of(sized(100, size=1000)), size_error(Ending.SIZE_BYTES))
    assert (caps.max_bytes, caps.max_texts) == (50_000, 128)


@pytest.mark.parametrize(
    ("size", "bytes_", "texts"),
    [
        (LEAST_BYTES - 1, 1_000_000, 1),
        (LEAST_BYTES, 1_000_000, 1),
        (LEAST_BYTES + 1, LEAST_BYTES, 128),
    ],
)
def test_a_small_body_that_is_too_large_means_fewer_texts(
    size: int, bytes_: int, texts: int
) -> None:
    caps = Caps(SPEC)
    request = request_of(b"x" * (size // 2), b"x" * (size - size // 2), b"")
    caps.refused(batch_of(request), size_error(Ending.SIZE_BYTES))
    assert (caps.max_bytes, caps.max_texts) == (bytes_, texts)


@given(
    texts=st.integers(2, 128),
    size=st.integers(2, 4000),
    ending=st.sampled_from([Ending.SIZE_ITEMS, Ending.SIZE_TOKENS, Ending.SIZE_BYTES]),
    cap=st.none() | st.integers(-5, 200_000),
    got=st.none() | st.integers(-5, 200_000),
)
def test_the_same_batch_is_over_a_cap_after_its_error(
    texts: int, size: int, ending: Ending, cap: int | None, got: int | None
) -> None:
    caps = Caps(SPEC)
    caps.refused(weighed(caps, texts, size), size_error(ending, cap, got))
    again = weighed(caps, texts, size)
    assert (
        again.texts > caps.max_texts
        or again.tokens > caps.max_tokens
        or again.bytes > caps.max_bytes
    )


# in the world


class AlwaysTooLarge:
    """Refuses the size of every call."""

    def __init__(self, ending: Ending, cap: int | None, got: int | None) -> None:
        self._verdict = size_error(ending, cap, got)

    def __call__(self, world: World, seen: Seen) -> End | None:
        return End(self._verdict, 0.02)


@pytest.mark.parametrize("cap", [None, 0, 1, 64, 10**9])
@pytest.mark.parametrize("got", [None, 10, 10**9])
@pytest.mark.parametrize("ending", [Ending.SIZE_ITEMS, Ending.SIZE_TOKENS, Ending.SIZE_BYTES])
def test_size_errors_without_end_become_a_bad_text(
    ending: Ending, cap: int | None, got: int | None
) -> None:
    provider = Provider(AlwaysTooLarge(ending, cap, got))
    world, crowd = town(provider)
    many = crowd.ask(*[text(number) for number in range(200)])
    few = [crowd.ask(text(f"few {number}"), caller=f"c{number}") for number in range(3)]
    world.run(20.0)
    for answer in (many, *few):
        assert answer.refusal is not None
        assert answer.refusal.type == "validation_error"
    assert len(provider.seen) < 300


@pytest.mark.parametrize("named", list(Named))
@pytest.mark.parametrize(
    ("caps", "spec"),
    [
        ({"texts": 96}, {"max_texts": 128}),
        ({"texts": 10}, {"max_texts": 1000}),
        ({"tokens": 4000}, {"max_tokens": 120_000, "tokens_a_byte": 0.1}),
        ({"tokens": 4000}, {"max_tokens": 10_000, "tokens_a_byte": 0.05}),
        ({"bytes": 20_000}, {"max_bytes": 1_000_000}),
    ],
)
def test_a_cap_is_learned_and_what_was_refused_goes_again_at_once(
    caps: dict[str, int], spec: dict[str, float], named: Named
) -> None:
    provider = Provider(TakesAtMost(**caps, named=named))
    world, crowd = town(provider, **spec)
    texts = [b'"%s"' % (b"%d " % number * 50)[:200] for number in range(1000)]
    first = crowd.ask(*texts)
    world.run(60.0)
    assert first.served
    learned = [seen for seen in provider.seen if seen.ending is not Ending.OK]
    assert 0 < len(learned) <= 80
    before = len(provider.seen)
    again = crowd.ask(*[b'"again' + each[1:] for each in texts])
    world.run(120.0)
    assert again.served
    assert {seen.ending for seen in provider.seen[before:]} == {Ending.OK}
    least = max(
        len(texts) / caps.get("texts", 1 << 30),
        sum([seen.tokens for seen in provider.seen[before:]]) / caps.get("tokens", 1 << 30),
        sum([len(each) for each in texts]) / caps.get("bytes", 1 << 30),
    )
    # halving finds half of a cap at worst, and of an estimate that was too low an eighth of it;
    # bytes are always halved
    worst = 8.0 if named is Named.NOTHING else 2.6 if "bytes" in caps else 1.3
    assert len(provider.seen) - before <= worst * least + 1


def test_what_was_out_when_the_estimates_changed_is_weighed_when_it_comes_back() -> None:
    too_many = End(size_error(Ending.SIZE_TOKENS, 1000, 2000), 0.02)
    held = End(Verdict(Ending.RATE, 429, retry_after=5.0), 0.1)
    world, crowd = town(Provider(Script(too_many, held)), max_texts=10, max_tokens=1000)
    _, out = (
        crowd.ask(*[b'"%d %d %s"' % (caller, number, b"x" * 48) for number in range(10)])
        for caller in range(2)
    )
    world.run(0.11)
    account = crowd.account
    assert account.caps.tokens_a_byte == 1.0
    waiting = [ticket for ticket in account.waiting() if ticket.request is out.request]
    assert [(len(ticket.places), ticket.tokens) for ticket in waiting] == [(10, 10 * 53)]
    lane = account.lanes[out.request.params]
    assert lane.tokens == sum([ticket.tokens for ticket in lane.waiting])
