"""What a call gets and when: latency, limits, capacity, caps, keys, poison, faults, counts."""

from __future__ import annotations

import statistics
from email.utils import parsedate_to_datetime

import pytest

from emr.fake import journal
from emr.fake.faults import Fault
from emr.fake.settings import FakeSettings, changed
from tests.fake.world import AZURE, BODIES, GEMINI, KEY, Connection, Fake, cohere, of, voyage

EMB = "/v1/embeddings"
OPENAI = "/openai/v1/embeddings"
COHERE = "/cohere/v2/embed"


def small(*texts: str) -> dict[str, object]:
    return of("text-embedding-3-small", *texts)


def fake(**settings: object) -> Fake:
    return Fake(changed(FakeSettings(), {"latency_ms": 0, "refusal_ms": 0} | settings))


def burst(world: Fake, number: int, path: str = EMB) -> list[int]:
    return [world.ask(path, BODIES[path]).status for _ in range(number)]


# latency


def test_an_answer_comes_after_its_latency() -> None:
    world = fake(latency_ms=180)
    _, got = world.send(EMB, voyage("a"))
    world.clock.advance(0.179)
    assert got.status == 0
    world.clock.advance(0.001)
    assert (got.status, got.replied_at) == (200, pytest.approx(0.18))


def test_texts_and_tokens_add_to_the_latency() -> None:
    world = fake(latency_ms=100, latency_ms_per_text=10, latency_ms_per_token=1)
    assert world.ask(EMB, voyage("abcd", "abcdefgh")).replied_at == pytest.approx(0.123)


def test_latencies_spread_as_a_lognormal_and_repeat() -> None:
    def times(seed: int) -> list[float]:
        world = fake(latency_ms=100, latency_sigma=0.5, seed=seed)
        sent = [world.send(EMB, voyage("a"))[1] for _ in range(2000)]
        world.clock.advance(100.0)
        return [c.replied_at or 0.0 for c in sent]

    one = times(1)
    assert one == times(1) != times(2)
    assert statistics.median(one) == pytest.approx(0.1, rel=0.1)
    assert statistics.quantiles(one, n=100)[94] == pytest.approx(0.1 * 2.276, rel=0.15)


def test_refusals_have_a_time_of_their_own() -> None:
    assert fake(latency_ms=180, refusal_ms=7).ask(EMB, b"{").replied_at == pytest.approx(0.007)


# limits


@pytest.mark.parametrize("path", BODIES)
def test_calls_beyond_the_limit_are_refused(path: str) -> None:
    world = fake(rpm=3)
    assert burst(world, 5, path) == [200, 200, 200, 429, 429]
    world.clock.advance(59.999)
    assert burst(world, 1, path) == [429]
    world.clock.advance(0.001)
    assert burst(world, 4, path) == [200, 200, 200, 429]


def test_tokens_and_texts_are_limited_too() -> None:
    world = fake(tpm=10)
    assert world.ask(EMB, voyage("x" * 28)).status == 200
    assert world.ask(EMB, voyage("x" * 16)).status == 429
    assert world.ask(EMB, voyage("x" * 12)).status == 200
    world = fake(ipm=3)
    assert world.ask(EMB, voyage("a", "b")).status == 200
    assert world.ask(EMB, voyage("a", "b")).status == 429
    assert world.ask(EMB, voyage("a")).status == 200


def test_a_refused_call_takes_nothing_of_any_limit() -> None:
    world = fake(rpm=2, tpm=10)
    assert world.ask(EMB, voyage("x" * 44)).status == 429
    assert burst(world, 3) == [200, 200, 429]


def test_failed_calls_count_when_told() -> None:
    world = fake(rpm=3, count_failed=True, faults="500=1")
    assert burst(world, 3) == [500, 500, 500]
    world.service.provider.configure(changed(world.service.provider.settings, {"faults": ""}))
    assert burst(world, 1) == [429]
    world = fake(rpm=3, faults="500=1")
    assert burst(world, 3) == [500, 500, 500]
    world.service.provider.configure(changed(world.service.provider.settings, {"faults": ""}))
    assert burst(world, 4) == [200, 200, 200, 429]


def test_each_model_and_key_has_its_own_limits() -> None:
    world = fake(rpm=1)
    other = {b"authorization": b"Bearer fake-key-2"}
    assert burst(world, 2) == [200, 429]
    assert world.ask(EMB, voyage("a", model="voyage-4")).status == 200
    assert world.ask(EMB, voyage("a"), other).status == 200
    world = fake(rpm=1, scope="key")
    assert burst(world, 1) == [200]
    assert world.ask(EMB, voyage("a", model="voyage-4")).status == 429


def test_limits_change_while_it_runs() -> None:
    world = fake(rpm=2, schedule="10- rpm=4; 80-90 rpm=0")
    assert burst(world, 3) == [200, 200, 429]
    world.clock.advance(10.0)
    assert burst(world, 3) == [200, 200, 429]
    world.clock.advance(70.0)
    assert burst(world, 9) == [200] * 9


def test_a_thief_takes_his_share_as_far_as_there_is_room() -> None:
    """Calls that come evenly, as many as are allowed: he gets some, and is there again later."""
    world = fake(rpm=60, thief=0.5, tell="full")
    answered = []
    for _ in range(600):
        answered.append(world.ask(EMB, voyage("a")).status == 200)
        world.clock.advance(0.5)
    # 120 asked a minute, 60 are allowed: the thief, who asks for 30, has what he finds room for
    a_minute = sum(answered[240:]) / 3.0
    assert 30 <= a_minute <= 55
    again = fake(rpm=60, thief=0.5, tell="full")
    for status in answered:
        assert (again.ask(EMB, voyage("a")).status == 200) is status
        again.clock.advance(0.5)


def test_a_thief_alone_leaves_the_rest_and_headers_tell_of_him() -> None:
    world = fake(rpm=60, thief=0.5, tell="full")
    assert burst(world, 1) == [200]
    world.clock.advance(119.0)
    got = world.ask(EMB, voyage("a"))
    assert got.headers[b"x-ratelimit-limit-requests"] == b"60"
    left = int(got.headers[b"x-ratelimit-remaining-requests"])
    assert left == pytest.approx(60 - 30 - 1, abs=4)


def test_a_thief_of_tokens_takes_a_sixtieth_of_his_share_at_a_time() -> None:
    world = fake(tpm=6000, thief=0.5, tell="full")
    world.ask(EMB, voyage("a"))
    world.clock.advance(60.0)
    got = world.ask(EMB, voyage("a"))
    left = int(got.headers[b"x-ratelimit-remaining-tokens"])
    assert (6000 - 1 - left) % 50 == 0
    assert left == pytest.approx(3000, abs=400)


def test_a_thief_of_nothing_takes_nothing() -> None:
    world = fake(rpm=10, schedule="60-120 thief=0.5", tell="full")
    assert burst(world, 10) == [200] * 10
    world.clock.advance(300.0)
    assert burst(world, 11) == [200] * 10 + [429]


@pytest.mark.parametrize("counting", ["fixed", "bucket", "windows"])
def test_every_way_of_counting_can_be_chosen(counting: str) -> None:
    world = fake(rpm=120, counting=counting, window_s=1, burst_s=1)
    world.clock.advance(600.0)
    first = 120 if counting == "fixed" else 2
    assert burst(world, first + 1) == [200] * first + [429]
    world.clock.advance(60.0 if counting == "fixed" else 1.0)
    assert burst(world, 1) == [200]


# on its way


def test_a_call_is_decided_about_when_it_is_there() -> None:
    world = fake(latency_ms=180, refusal_ms=30, uplink_ms=60, rpm=1, schedule="0.05- 500=1")
    _, first = world.send(EMB, voyage("a"))
    world.clock.advance(0.089)
    assert first.status == 0
    world.clock.advance(0.001)
    assert (first.status, first.replied_at) == (500, pytest.approx(0.09))
    world = fake(latency_ms=180, refusal_ms=30, uplink_ms=60, rpm=1)
    _, first = world.send(EMB, voyage("a"))
    _, second = world.send(EMB, voyage("b"))
    world.clock.advance(1.0)
    assert (first.status, first.replied_at) == (200, pytest.approx(0.18))
    assert (second.status, second.replied_at) == (429, pytest.approx(0.09))


def test_servers_begin_when_it_is_there() -> None:
    world = fake(latency_ms=100, uplink_ms=60, servers=1)
    assert world.ask(EMB, voyage("a")).replied_at == pytest.approx(0.16)


def test_a_call_that_left_on_its_way_never_came() -> None:
    world = fake(latency_ms=180, uplink_ms=60)
    exchange, got = world.send(EMB, voyage("a"))
    exchange.gone()
    world.clock.advance(1.0)
    assert (got.status, world.stats()["calls"]) == (0, 0)


# the journal


def lines(world: Fake) -> list[dict[str, object]]:
    told = world.ask("/_fake/journal", b"", {}, "GET").json
    return [dict(zip(told["columns"], line, strict=True)) for line in told["calls"]]


def test_the_journal_has_a_line_for_each_call() -> None:
    world = fake(latency_ms=180, refusal_ms=30, rpm=2, journal=True, schedule="1- hang=1")
    world.ask("/_fake/reset", b"")
    for texts in (["abcd", "abcdefgh"], ["a"], ["b"]):
        world.send(EMB, voyage(*texts))
    world.clock.advance(61.0)
    exchange, _ = world.send(EMB, voyage("c"))
    kept = [tuple(line.values()) for line in lines(world)]
    assert kept == [
        (0.0, 2, 3, 0.18, 200, 0.18, "", ""),
        (0.0, 1, 1, 0.18, 200, 0.18, "", ""),
        (0.0, 1, 1, 0.0, 429, 0.03, "rate of calls", ""),
        (61.0, 1, 1, 0.18, 0, -1.0, "", "hang"),
    ]
    world.clock.advance(1.0)
    exchange.gone()
    assert lines(world)[3]["ended_s"] == 62.0
    assert lines(world)[3]["status"] == 0
    world.ask("/_fake/reset", b"")
    assert lines(world) == []


def test_no_journal_is_kept_unless_it_is_asked_for() -> None:
    world = fake()
    world.ask(EMB, voyage("a"))
    assert lines(world) == []


def test_a_journal_ends_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LINES_MAX", 2)
    world = fake(journal=True)
    assert burst(world, 3) == [200] * 3
    assert len(lines(world)) == 2


# what is told about them


@pytest.mark.parametrize(
    ("tell", "words", "has_figures"),
    [("full", "tell", True), ("none", "tell", False), ("full", "vague", False),
     ("none", "figures", True)],
)  # fmt: skip
def test_the_words_of_a_refusal_may_tell_other_than_its_headers(
    tell: str, words: str, has_figures: bool
) -> None:
    world = fake(rpm=7, tell=tell, words=words)
    assert burst(world, 7, OPENAI) == [200] * 7
    got = world.ask(OPENAI, small("a"))
    assert ("Limit 7" in got.json["error"]["message"]) is has_figures
    assert (b"x-ratelimit-limit-requests" in got.headers) is (tell == "full")


def limit_names(got: Connection) -> list[bytes]:
    return sorted(n for n in got.headers if n.startswith(b"x-ratelimit"))


def test_limits_are_told_as_the_real_ones_do() -> None:
    assert limit_names(fake(rpm=9, tpm=99).ask(EMB, voyage("a"))) == []
    got = fake(rpm=9, tpm=99, counting="bucket").ask(OPENAI, small("abcd" * 33))
    assert got.headers[b"x-ratelimit-limit-requests"] == b"9"
    assert got.headers[b"x-ratelimit-remaining-requests"] == b"8"
    assert got.headers[b"x-ratelimit-reset-requests"] == b"6.667s"
    assert got.headers[b"x-ratelimit-remaining-tokens"] == b"66"
    assert got.headers[b"x-ratelimit-reset-tokens"] == b"20s"


def test_limits_are_told_in_the_names_of_each() -> None:
    def told(path: str) -> dict[bytes, bytes]:
        got = fake(rpm=9, tpm=99).ask(path, BODIES[path])
        return {name: value for name, value in got.headers.items() if b"ratelimit" in name}

    assert told("/mistral/v1/embeddings") == {
        b"x-ratelimit-limit-req-minute": b"9",
        b"x-ratelimit-remaining-req-minute": b"8",
        b"x-ratelimitbysize-limit-minute": b"99",
        b"x-ratelimitbysize-remaining-minute": b"98",
    }
    assert told("/jina/v1/embeddings") == {
        b"x-ratelimit-remaining-requests": b"8",
        b"x-ratelimit-remaining-tokens": b"98",
    }
    assert told(AZURE)[b"x-ratelimit-limit-requests"] == b"-1"
    assert told(AZURE)[b"x-ratelimit-remaining-tokens"] == b"98"
    assert told(GEMINI) == told("/tei/embed") == told("/ollama/api/embed") == {}


def test_limits_are_told_as_set() -> None:
    got = fake(rpm=9, ipm=99, tell="full").ask(EMB, voyage("a"))
    assert len(limit_names(got)) == 6
    got = fake(rpm=9, tpm=99, tell="partial").ask(OPENAI, small("a"))
    assert limit_names(got) == [b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests"]
    assert limit_names(fake(rpm=9, tell="none").ask(OPENAI, small("a"))) == []


def refused(**settings: object) -> Connection:
    world = fake(rpm=1, **settings)
    world.ask(OPENAI, small("a"))
    world.clock.advance(10.25)
    return world.ask(OPENAI, small("a"))


def test_retry_after_is_as_set() -> None:
    assert refused().headers[b"retry-after"] == b"50"
    assert refused().headers[b"retry-after-ms"] == b"49750"
    assert refused(retry_after="short").headers[b"retry-after"] == b"4"
    assert refused(retry_after="huge").headers[b"retry-after"] == b"1000000000"
    assert refused(retry_after="negative").headers[b"retry-after"] == b"-1"
    assert refused(retry_after="junk").headers[b"retry-after"] == b"soon"
    assert b"retry-after" not in refused(retry_after="none").headers
    date = refused(retry_after="date").headers[b"retry-after"].decode()
    assert parsedate_to_datetime(date).year >= 2025
    world = fake(rpm=1)
    burst(world, 1)
    assert b"retry-after" not in world.ask(EMB, voyage("a")).headers


def test_words_tell_the_figures_unless_told_not_to() -> None:
    message = refused().json["error"]["message"]
    assert "on requests per min (RPM): Limit 1, Used 1, Requested 1" in message
    assert "Please try again in 49.75s" in message
    assert refused().json["error"]["code"] == "rate_limit_exceeded"
    assert "Limit" not in refused(tell="none").json["error"]["message"]


def test_voyage_tells_its_figures_only_to_accounts_that_do_not_pay() -> None:
    world = fake(rpm=3, tpm=10_000)
    burst(world, 3)
    assert "reduced rate limits of 3 RPM and 10K TPM" in world.ask(EMB, voyage("a")).json["detail"]
    world = fake(rpm=3)
    burst(world, 3)
    assert "RPM" not in world.ask(EMB, voyage("a")).json["detail"]


# capacity


def test_calls_wait_for_a_server_and_the_line_has_an_end() -> None:
    world = fake(latency_ms=1000, servers=1, waiting=1)
    sent = [world.send(EMB, voyage("a"))[1] for _ in range(3)]
    world.clock.advance(10.0)
    assert [(c.status, c.replied_at) for c in sent] == [(200, 1.0), (200, 2.0), (503, 0.0)]


def test_texts_and_calls_at_a_time_are_limited() -> None:
    world = fake(latency_ms=1000, concurrent_texts=3)
    first = world.send(EMB, voyage("a", "b"))[1]
    assert world.send(EMB, voyage("a", "b"))[1].status == 503
    second = world.send(EMB, voyage("a"))[1]
    world.clock.advance(1.0)
    assert (first.status, second.status) == (200, 200)
    world = fake(latency_ms=1000, concurrent_calls=1)
    exchange, left = world.send(EMB, voyage("a"))
    assert world.send(EMB, voyage("a"))[1].status == 503
    exchange.gone()
    assert world.send(EMB, voyage("a"))[1].status == 0
    world.clock.advance(1.0)
    assert left.status == 0
    assert world.stats()["in_flight"] == 0


# keys, sizes, routes


def test_keys() -> None:
    world = fake(keys="good-key, better-key")
    for header, status in ((b"Bearer good-key", 200), (b"bearer better-key", 200),
                           (b"Bearer bad-key", 401), (b"Basic good-key", 401), (b"Bearer ", 401),
                           (b"", 401)):  # fmt: skip
        assert world.ask(EMB, voyage("a"), {b"authorization": header}).status == status
    assert fake().ask(EMB, voyage("a"), {}).json["detail"].startswith("You forgot")
    bad = fake(keys="x").ask(OPENAI, small("a"), {b"authorization": b"Bearer sk-secret-key"})
    assert bad.json["error"]["code"] == "invalid_api_key"
    assert b"sk-secret-key" not in bad.body


def test_bodies_have_a_size() -> None:
    body = b'{"model":"voyage-code-3","input":"a"}'
    assert fake(max_bytes=len(body)).ask(EMB, body).status == 200
    assert fake(max_bytes=len(body) - 1).ask(EMB, body).status == 413


def test_unknown_routes_and_methods() -> None:
    world = fake()
    assert world.ask("/v9/embeddings", voyage("a")).json == {"detail": "Not Found"}
    assert world.ask(EMB, b"", KEY, "GET").status == 405
    assert world.ask("/_fake/nothing", b"").status == 404
    assert fake(form="openai").ask(EMB, small("a")).status == 200
    assert fake(form="openai").ask(EMB, voyage("a")).status == 404


# poison


def test_poison() -> None:
    world = fake(poison="INDEX=index, SILENT=silent, CRASH=crash, HANG=hang")
    for path, body in ((EMB, voyage("a", "an INDEX")), (OPENAI, small("a", "an INDEX")),
                       (COHERE, cohere("a", "an INDEX"))):  # fmt: skip
        got = world.ask(path, body)
        assert got.status == 400
        assert b"1" in got.body
    got = world.ask(EMB, voyage("a", "SILENT"))
    assert (got.status, b"1" in got.body) == (400, False)
    assert world.ask(EMB, voyage("a", "CRASH")).status == 500
    assert world.ask(EMB, voyage("index")).status == 200
    exchange, got = world.send(EMB, voyage("HANG"))
    world.clock.advance(10_000.0)
    assert got.status == 0
    exchange.gone()
    assert world.stats()["in_flight"] == 0


# faults that refuse


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("fault", "status"),
    [("429", 429), ("429-bare", 429), ("500", 500), ("502", 502), ("503", 503), ("529", 529),
     ("auth", 401), ("forbidden", 403)],
)  # fmt: skip
def test_refusals_as_faults(path: str, fault: str, status: int) -> None:
    world = fake(faults=fault)
    got = world.ask(path, BODIES[path])
    # Gemini calls a key that it does not know a bad argument
    assert got.status == (400 if (fault, path) == ("auth", GEMINI) else status)
    assert (b"retry-after" in got.headers) == (fault == "429")
    kind = got.headers[b"content-type"]
    if fault == "502":
        assert kind.startswith(b"text/html")
    else:
        # the framework under TEI speaks plain text
        assert kind == b"application/json" or (b"text/plain" in kind and "/tei/" in path)
    assert world.stats()["by_fault"] == {fault: 1}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/embeddings", 503), ("/jina/v1/embeddings", 429), ("/tei/embed", 429),
     ("/infinity/embeddings", 429), ("/ollama/api/embed", 503), ("/mistral/v1/embeddings", 429)],
)  # fmt: skip
def test_used_up_capacity_has_the_status_of_the_form(path: str, status: int) -> None:
    assert fake(faults="overloaded").ask(path, BODIES[path]).status == status
    assert fake(faults="529").ask(path, BODIES[path]).status == 529


def test_gemini_says_in_its_body_when_to_come_again() -> None:
    def delay(**settings: object) -> str | None:
        world = fake(rpm=1, **settings)
        world.ask(GEMINI, BODIES[GEMINI])
        world.clock.advance(26.25)
        got = world.ask(GEMINI, BODIES[GEMINI])
        assert b"retry-after" not in got.headers
        details = got.json["error"]["details"]
        assert "PerMinute" in details[0]["violations"][0]["quotaId"]
        return details[1]["retryDelay"] if len(details) > 1 else None

    assert delay() == "33.75s"
    assert delay(retry_after="none") is None
    got = fake(faults="429").ask(GEMINI, BODIES[GEMINI]).json["error"]["details"]
    assert got[1]["retryDelay"] == "1s"
    assert len(fake(faults="429-bare").ask(GEMINI, BODIES[GEMINI]).json["error"]["details"]) == 1


def test_an_empty_account_is_told_apart_from_a_limit() -> None:
    assert fake(faults="quota").ask(EMB, voyage("a")).status == 402
    got = fake(faults="quota").ask(OPENAI, small("a"))
    assert (got.status, got.json["error"]["code"]) == (429, "insufficient_quota")
    got = fake(faults="quota").ask(COHERE, cohere("a"))
    assert got.status == 429
    assert "1000 API calls / month" in got.json["message"]


def test_a_fault_does_not_hide_a_strict_refusal() -> None:
    world = fake(faults="nan")
    assert world.ask(EMB, voyage("")).status == 400
    assert world.stats()["by_fault"] == {}


def test_slow_calls_take_ten_times_as_long() -> None:
    assert fake(latency_ms=100, faults="slow").ask(EMB, voyage("a")).replied_at == pytest.approx(1)


def test_the_same_seed_strikes_the_same_calls() -> None:
    def statuses(seed: int) -> list[int]:
        return burst(fake(faults="500=0.3,429=0.3", seed=seed), 50)

    assert statuses(1) == statuses(1) != statuses(2)
    world = fake(faults="500=0.5")
    first = burst(world, 30)
    world.ask("/_fake/reset", b"")
    assert burst(world, 30) == first


# counts


def test_counts() -> None:
    world = fake(rpm=3, faults="", record=2)
    world.ask(EMB, voyage("abcdefgh", "b"))
    world.ask(EMB, voyage("a"))
    world.ask(OPENAI, small("a"))
    world.ask(EMB, voyage(""))
    burst(world, 2)
    stats = world.stats()
    assert (stats["calls"], stats["texts"], stats["tokens"]) == (6, 5, 6)
    assert stats["good"] == {"calls": 4, "texts": 5, "tokens": 6}
    assert stats["by_status"] == {"200": 4, "400": 1, "429": 1}
    assert stats["by_size"] == {"1": 3, "2": 1}
    assert stats["by_complaint"] == {"empty text": 1, "rate of calls": 1}
    assert stats["by_model"]["voyage-code-3"] == {"calls": 3, "texts": 4, "tokens": 5}
    assert list(stats["by_key"].values()) == [stats["good"]]
    assert b"fake-key-1" not in world.ask("/_fake/stats", b"", {}, "GET").body
    calls = world.ask("/_fake/calls", b"", {}, "GET").json
    assert [c["status"] for c in calls] == [200, 429]
    assert '"voyage-code-3"' in calls[0]["body"]
    world.ask("/_fake/reset", b"")
    assert world.stats()["calls"] == 0
    assert world.ask("/_fake/calls", b"", {}, "GET").json == []


def test_spoilt_and_left_calls_are_counted_apart() -> None:
    world = fake(faults="short", latency_ms=10)
    world.ask(EMB, voyage("a", "b"))
    exchange, _ = world.send(EMB, voyage("a"))
    assert world.stats()["in_flight"] == 1
    exchange.gone()
    stats = world.stats()
    assert stats["spoilt"] == {"calls": 1, "texts": 2, "tokens": 2}
    assert stats["left"] == {"calls": 1, "texts": 1, "tokens": 1}
    assert (stats["good"]["calls"], stats["in_flight"], stats["max_in_flight"]) == (0, 0, 1)


def test_settings_over_the_control_route() -> None:
    world = fake()
    assert world.ask("/_fake/settings", {"rpm": 1, "faults": "500=1"}).json["rpm"] == 1.0
    assert burst(world, 1) == [500]
    assert world.ask("/_fake/settings", b"", {}, "GET").json["faults"] == "500=1"
    for bad, words in ((b"[]", "JSON object"), (b"{", "unexpected end"), ({"x": 1}, "no setting"),
                       ({"rpm": 5, "faults": "x"}, "no fault")):  # fmt: skip
        got = world.ask("/_fake/settings", bad)
        assert got.status == 400
        assert words in got.json["error"]
    assert world.ask("/_fake/settings", b"", {}, "GET").json["rpm"] == 1.0


@pytest.mark.parametrize("path", BODIES)
def test_every_other_fault_is_a_200(path: str) -> None:
    in_parts = {"hang", "reset", "cut", "stall", "drip", "giant"}
    refusing = {
        "429",
        "429-bare",
        "500",
        "502",
        "503",
        "529",
        "overloaded",
        "auth",
        "forbidden",
        "quota",
    }
    for fault in {f.value for f in Fault} - in_parts - refusing:
        assert fake(faults=fault).ask(path, BODIES[path]).status == 200
