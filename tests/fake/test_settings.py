"""Settings, faults and schedules as texts: what is read, and what is refused."""

from __future__ import annotations

from random import Random

import pytest

from emr.fake.faults import Fault, draw, read_odds
from emr.fake.limits import Counting
from emr.fake.schedule import Poison, Rules, read_poison
from emr.fake.settings import DEFAULTS, HELP, FakeSettings, RetryAfter, Tell, changed, plain


def test_values_are_read_by_the_type_of_their_setting() -> None:
    made = changed(
        FakeSettings(),
        {"rpm": "2000", "latency_ms": 5, "servers": "3", "counting": "fixed", "strict": False,
         "count_failed": "yes", "tell": Tell.NONE, "retry_after": "junk", "keys": "a,b"},
    )  # fmt: skip
    assert (made.rpm, made.latency_ms, made.servers, made.strict) == (2000.0, 5.0, 3, False)
    assert (made.counting, made.tell, made.count_failed) == (Counting.FIXED, Tell.NONE, True)
    assert (made.retry_after, made.keys) == (RetryAfter.JUNK, "a,b")
    assert made.rpm != FakeSettings().rpm


def test_settings_survive_json() -> None:
    made = FakeSettings(rpm=3.0, counting=Counting.WINDOWS, faults="500=0.1")
    assert changed(FakeSettings(), plain(made)) == made
    assert DEFAULTS.keys() == HELP.keys() == plain(made).keys()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"rmp": 1}, "no setting 'rmp'"),
        ({"form": "acme"}, "form is one of voyage, openai, cohere"),
        ({"rpm": -1}, "rpm is not below 0"),
        ({"rpm": "many"}, "rpm is a number"),
        ({"rpm": None}, "rpm is a number"),
        ({"rpm": True}, "rpm is a number"),
        ({"rpm": "nan"}, "rpm is a finite number"),
        ({"latency_ms": float("inf")}, "latency_ms is a finite number"),
        ({"servers": 1.5}, "servers is a whole number"),
        ({"servers": "1.5"}, "servers is a number"),
        ({"servers": float("inf")}, "servers is a number"),
        ({"strict": "perhaps"}, "strict is true or false"),
        ({"counting": "sometimes"}, "counting is one of sliding, fixed"),
        ({"keys": 7}, "keys is a text"),
        ({"thief": 1.0}, "thief is a share"),
        ({"window_s": 0}, "window_s is above 0"),
        ({"window_s": 60.1}, "window_s is above 0 and at most 60"),
        ({"burst_s": 0}, "burst_s is above 0"),
        ({"bytes_per_token": 0}, "bytes_per_token is above 0"),
        ({"dimensions": 16_385}, "dimensions is at most"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        changed(FakeSettings(), values)


def test_edges_are_taken() -> None:
    changed(FakeSettings(), {"thief": 0.999, "window_s": 60, "dimensions": 16_384, "seed": -1})


def test_faults_are_read() -> None:
    assert read_odds("500=0.25, reset=.5") == {Fault.ERROR: 0.25, Fault.RESET: 0.5}
    assert read_odds("error") == {Fault.ERROR: 1.0}
    assert read_odds("inf=0.1") == {Fault.INFINITY: 0.1}
    assert read_odds("") == read_odds("none") == {}
    assert {f.value for f in Fault} >= {"429", "429-bare", "gzip", "error-200", "drip"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [("510=1", "no fault is called '510'"), ("500=2", "from 0 to 1"), ("500=x", "from 0 to 1"),
     ("500=0.6,reset=0.5", "add up to 1.1"), ("none=1", "no fault is called 'none'")],
)  # fmt: skip
def test_bad_faults_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_odds(text)


def test_faults_strike_as_often_as_told() -> None:
    rng = Random(1)
    odds = read_odds("500=0.2,reset=0.1")
    drawn = [draw(odds, rng) for _ in range(20_000)]
    assert drawn.count(Fault.ERROR) == pytest.approx(4000, abs=200)
    assert drawn.count(Fault.RESET) == pytest.approx(2000, abs=150)
    assert {draw(read_odds("hang=1"), rng) for _ in range(1000)} == {Fault.HANG}
    assert {draw({}, rng) for _ in range(1000)} == {None}


def test_a_schedule_changes_faults_and_settings_for_a_while() -> None:
    rules = Rules(
        FakeSettings(
            faults="nan=0.5", schedule="10-20 error=0.5; 15-30 rpm=7; 20-25 none; 40- hang"
        )
    )
    usual = {Fault.NAN: 0.5}
    expected = [
        (0.0, usual, 0.0), (9.999, usual, 0.0), (10.0, {Fault.ERROR: 0.5}, 0.0),
        (15.0, {Fault.ERROR: 0.5}, 7.0), (19.999, {Fault.ERROR: 0.5}, 7.0), (20.0, {}, 7.0),
        (25.0, usual, 7.0), (30.0, usual, 0.0), (39.9, usual, 0.0), (40.0, {Fault.HANG: 1.0}, 0.0),
        (1e9, {Fault.HANG: 1.0}, 0.0),
    ]  # fmt: skip
    for time, odds, rpm in expected:
        force = rules.at(time)
        assert (force.odds, force.settings.rpm) == (odds, rpm), time
    rules.restart()
    assert rules.at(0.0).odds == usual


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0-60", "names no fault and no setting"),
        ("60-0 none", "begins with a span"),
        ("5-5 none", "begins with a span"),
        ("x-9 none", "begins with a span"),
        ("60 none", "begins with a span"),
        ("0-9 sleep=1", "'sleep=1' is no fault"),
        ("0-9 error=1 reset=1", "add up to 2"),
        ("0-9 rpm=-1", "rpm is not below 0"),
        ("0-9 seed=2", "no setting that a schedule can change"),
        ("0-9 form=openai", "no setting that a schedule can change"),
        ("0-9 none; 1-2 error=7", "'1-2 error=7'"),
    ],
)
def test_bad_schedules_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Rules(FakeSettings(schedule=text))


def test_poison_is_read() -> None:
    assert read_poison("BAD=index, WORSE=crash,PLAIN") == [
        ("BAD", Poison.INDEX), ("WORSE", Poison.CRASH), ("PLAIN", Poison.SILENT)
    ]  # fmt: skip
    with pytest.raises(ValueError, match="'burn' is none of index, silent"):
        read_poison("BAD=burn")
