"""What callers are told when their request fails: the provider's name, its status, its own words.

Rules of this file. A caller never reads another caller's text: when a call carried several
callers, the provider's words are passed on only if no part of another's text stands in them. A
text shorter than four characters is no secret (it stands in every sentence).
"""

from __future__ import annotations

import re

from emr.lane.refusal import Refusal
from emr.lane.ticket import Batch, Request
from emr.lane.verdict import Ending, Verdict

PART = 8  # letters; any shared run of 2 * PART - 1 of them is found
SHORTEST = 4  # letters of a text that could be recognised in a message
ESCAPES = re.compile(rb"\\(?:u[0-9a-fA-F]{4}|.)")
NO_LETTERS = bytes(b for b in range(128) if not chr(b).isalnum())


def letters(text: bytes) -> bytes:
    """What is compared: letters and digits alone, so that quoting and escapes hide nothing."""
    return ESCAPES.sub(b"", text).translate(None, NO_LETTERS)


def repeats(message: str, text: bytes) -> bool:
    """Whether a recognisable part of the JSON text stands in `message`."""
    words, inner = letters(message.encode("utf-8", "replace")), letters(text)
    if len(inner) >= SHORTEST and inner in words:
        return True
    return any(words[i : i + PART] in inner for i in range(0, len(words) - PART + 1, PART))


def own_words(verdict: Verdict, batch: Batch | None, request: Request) -> str:
    """The provider's message as this request's caller may read it; empty when it may not."""
    if not verdict.message or batch is None:
        return verdict.message
    for ticket in batch.tickets:
        if ticket.request is request:
            continue
        texts = ticket.request.texts
        if any(repeats(verdict.message, texts[i]) for i in ticket.places):
            return ""
    return verdict.message


def sentence(provider: str, verdict: Verdict, words: str) -> str:
    """`voyage answered 500: its words`, as far as each is known."""
    if verdict.status is not None:
        said = f"{provider} answered {verdict.status}"
    elif verdict.timed_out:
        said = f"{provider} did not answer in time"
    else:
        said = f"the call to {provider} failed"
    return f"{said}: {words}" if words else said


def failed(provider: str, verdict: Verdict, words: str) -> Refusal:
    """The 502 of a request that used up its tries, or that no credential will get through."""
    return Refusal("provider_error", sentence(provider, verdict, words), final=True)


def own_index(words: str, index: int, place: int) -> str:
    """`words` with the index of a text among those of the call turned into the caller's own."""
    return re.sub(rf"(\[|index |item |#){index}\b", rf"\g<1>{place}", words)


def bad_text(provider: str, verdict: Verdict, words: str, param: str | None) -> Refusal:
    """The 400 of a request whose text or parameters the provider refused."""
    return Refusal("validation_error", sentence(provider, verdict, words), param=param)


def held_back(provider: str, ending: Ending, wait_s: float, words: str) -> Refusal:
    """The 429 or 503 of a request that a rate limit, or used up capacity, keeps too long."""
    wait_s = max(0.001, wait_s)
    if ending is Ending.RATE:
        kind, said = "rate_limited", f"{provider} is rate limited"
    else:
        kind, said = "overloaded", f"{provider} has no capacity left"
    tail = f": {words}" if words else ""
    return Refusal(kind, f"{said}; try again in {wait_s:.1f} s{tail}", retry_after=wait_s)


def binned(provider: str, failures: int, wait_s: float) -> Refusal:
    """The 503 of a request that does not wait, or waited long enough, behind the sin-bin."""
    wait_s = max(0.001, wait_s)
    message = (
        f"{provider} is sin-binned after {failures} failed calls in a row; "
        f"the next try is in {wait_s:.1f} s"
    )
    return Refusal("provider_unavailable", message, retry_after=wait_s)


def too_late(provider: str) -> Refusal:
    """The 504 of a request whose deadline passed."""
    return Refusal(
        "deadline_exceeded",
        f"the deadline passed while the request waited for {provider}; "
        "x-emr-timeout-ms sets a longer one",
    )
