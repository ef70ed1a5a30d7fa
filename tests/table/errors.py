"""The cells about errors: the fake refuses in the provider's own words, and emr says what follows.

Every failure must name the provider, hold no key and no text of a caller, and leave a gate that
fits its class. What a cell returns stands in the table.
"""

from __future__ import annotations

from typing import Any

from tests.support.processes import PROVIDER_KEY
from tests.table.bench import Bench, same_bits
from tests.table.features import first, vectors

TEXT = "a text that nobody else may read"


def failed(bench: Bench, told: Any) -> str:
    """Status and type of a failure, with what it says about trying again; and the gate."""
    assert told.status_code >= 400, told.text[:300]
    error = told.json()["error"]
    assert bench.row in error["message"], error["message"]
    assert PROVIDER_KEY not in told.text
    assert TEXT not in told.text
    words = [f"{told.status_code} `{error['type']}`"]
    if told.status_code in (429, 503):
        assert int(told.headers["retry-after"]) >= 1
        assert int(told.headers["retry-after-ms"]) >= 1
        assert "x-should-retry" not in told.headers
    if told.headers.get("x-should-retry") == "false":
        words.append("final")
    gate = bench.gate()
    if gate != "CLEAR":
        words.append(f"gate {gate}")
    return ", ".join(words)


async def struck(bench: Bench, **settings: object) -> str:
    """What a caller is told while the fake is so, and how many calls it took."""
    bench.become(**settings)
    told = await bench.hurry(TEXT)
    calls = bench.calls
    return failed(bench, told) + (f", {calls} calls" if calls > 1 else "")


async def key_refused(bench: Bench) -> str:
    """The provider does not know the key."""
    told = await struck(bench, keys="another-key")
    assert "gate AUTH" in told
    return told


async def forbidden(bench: Bench) -> str:
    """The provider knows the key, which may not."""
    told = await struck(bench, faults="forbidden")
    assert "gate AUTH" in told
    return told


async def no_money(bench: Bench) -> str:
    """Nothing is left on the account."""
    told = await struck(bench, faults="quota")
    assert "gate QUOTA" in told
    return told


async def rate_limited(bench: Bench) -> str:
    """A 429 that says when to come again."""
    told = await struck(bench, faults="429")
    assert told == "429 `rate_limited`, gate RATE", told
    return told


async def rate_limited_bare(bench: Bench) -> str:
    """A 429 that does not."""
    told = await struck(bench, faults="429-bare")
    assert "`rate_limited`" in told
    assert "gate RATE" in told
    return told.partition(", gate RATE")[0] + ", gate RATE"


async def used_up(bench: Bench, fault: str) -> str:
    """What a caller is told while the provider is out of capacity.

    Whose time ends in the middle of a call, and not between two, gets a 504: asked again then.
    """
    bench.become(faults=fault)
    for _ in range(5):
        told = await bench.hurry(TEXT)
        if told.status_code != 504:
            break
    return failed(bench, told)


async def no_capacity(bench: Bench) -> str:
    """The provider has no capacity left, in the way that it says so."""
    told = await used_up(bench, "overloaded")
    assert told == "503 `overloaded`, gate BACKOFF", told
    return told


async def crash(bench: Bench) -> str:
    """A 500: tried three times."""
    told = await struck(bench, faults="500")
    assert told == "502 `provider_error`, final, 3 calls", told
    return told


async def bad_gateway(bench: Bench) -> str:
    """A 502 with a page of HTML."""
    told = await struck(bench, faults="502")
    assert told == "502 `provider_error`, final, 3 calls", told
    return told


async def unavailable(bench: Bench) -> str:
    """A 503 in the provider's words."""
    return await used_up(bench, "503")


async def site_overloaded(bench: Bench) -> str:
    """A 529."""
    return await used_up(bench, "529")


async def too_many_texts(bench: Bench) -> str:
    """The provider takes fewer texts than is known: learned, and sent anew at once."""
    bench.become(max_texts=3)
    asked = [f"{number} words" for number in range(8)]
    for text, vector in zip(asked, vectors(await bench.ask(asked)), strict=True):
        assert same_bits(vector, bench.wanted(text))
    before = bench.calls
    vectors(await bench.ask(asked))
    after = bench.calls - before
    assert after in (3, 4), "the cap is kept"
    return f"learned; {before} calls, then {after}"


async def too_many_tokens(bench: Bench) -> str:
    """The provider takes fewer tokens than is known."""
    bench.become(max_tokens=100)
    asked = [f"{number} " + "words " * 20 for number in range(8)]
    asked = [text.strip() for text in asked]
    for text, vector in zip(asked, vectors(await bench.ask(asked)), strict=True):
        assert same_bits(vector, bench.wanted(text))
    before = bench.calls
    vectors(await bench.ask(asked))
    after = bench.calls - before
    assert after <= before
    return f"learned; {before} calls, then {after}"


async def too_many_bytes(bench: Bench) -> str:
    """The provider takes a smaller body than is known."""
    bench.become(max_bytes=6000)
    asked = [(f"{number} " + "words " * 300).strip() for number in range(8)]
    for text, vector in zip(asked, vectors(await bench.ask(asked)), strict=True):
        assert same_bits(vector, bench.wanted(text))
    before = bench.calls
    vectors(await bench.ask(asked))
    after = bench.calls - before
    assert after <= before
    return f"learned; {before} calls, then {after}"


async def too_long_not_cut(bench: Bench) -> str:
    """A text beyond the context, from a caller who wants none cut: that caller's 400."""
    bench.become(max_text_tokens=50)
    told = await bench.ask(["fine", "x" * 204], truncation=False)
    if told.status_code == 200:
        return "200: it cuts"
    return _bad_text(bench, told)


async def too_long_may_be_cut(bench: Bench) -> str:
    """The same from a caller who allows to cut it."""
    bench.become(max_text_tokens=50)
    told = await bench.ask(["fine", "x" * 204], truncation=True)
    if told.status_code == 200:
        vectors(told)
        return "200"
    return _bad_text(bench, told)


def _bad_text(bench: Bench, told: Any) -> str:
    assert told.status_code == 400, told.text[:300]
    error = told.json()["error"]
    assert error["type"] == "validation_error"
    assert bench.row in error["message"]
    assert "xxxx" not in told.text
    return f"400 `{error['param']}`" if error["param"] else "400"


async def unknown_field(bench: Bench) -> str:
    """A field that emr does not know goes on whole; refused where it would mean nothing."""
    bench.become()
    told = await bench.ask(TEXT, model=bench.subject.model, frobnicate=1)
    if told.status_code == 200:
        assert bench.sent()[-1]["frobnicate"] == 1
        assert same_bits(vectors(told)[0], bench.wanted(TEXT))
        return "overlooked"
    assert told.status_code == 400, told.text[:300]
    assert "frobnicate" in told.json()["error"]["message"]
    failed(bench, told)
    return "400 of the provider" if bench.calls else "400"


async def unknown_word(bench: Bench) -> str:
    """An `input_type` that the provider does not have."""
    bench.become()
    told = await bench.ask(TEXT, input_type="frobnicate")
    if told.status_code == 200:
        asked = first(bench.sent()[-1])
        return "passed on" if "frobnicate" in asked.values() else "left out"
    failed(bench, told)
    assert told.status_code == 400, told.text[:300]
    return "400 of the provider"


async def unknown_model(bench: Bench) -> str:
    """A model that the row names and the provider does not have; and one that the row does not."""
    bench.become()
    told = await bench.ask(TEXT, model="never-heard-of")
    assert told.status_code == 404
    assert told.json()["error"]["type"] == "model_not_found"
    assert bench.subject.model in told.json()["error"]["message"]
    assert bench.calls == 0
    told = await bench.ask(TEXT, model="no-such-model")
    if told.status_code == 200:
        return "looks at no name"
    failed(bench, told)
    assert told.status_code == 400, told.text[:300]
    return f"{told.status_code} `{told.json()['error']['type']}`"


REFUSALS = {
    "key refused (401)": key_refused,
    "not allowed (403)": forbidden,
    "nothing left to pay with": no_money,
    "unknown model": unknown_model,
    "unknown field": unknown_field,
    "unknown `input_type`": unknown_word,
}
LIMITS = {
    "429 with Retry-After": rate_limited,
    "429 without": rate_limited_bare,
    "no capacity": no_capacity,
    "500": crash,
    "502, HTML": bad_gateway,
    "503": unavailable,
    "529": site_overloaded,
}
SIZES = {
    "too many texts": too_many_texts,
    "too many tokens": too_many_tokens,
    "too large a body": too_many_bytes,
    "too long a text, not to be cut": too_long_not_cut,
    "too long a text, may be cut": too_long_may_be_cut,
}
