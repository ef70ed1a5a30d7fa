"""What callers are told when their request fails: the provider's name, its status, its own words.

Rules of this file. A caller never reads another caller's text: when a call carried several
callers, the provider's words are passed on only if no part of another's text stands in them. A
text shorter than four characters is no secret (it stands in every sentence).
"""

from __future__ import annotations

import re
from dataclasses import replace

from emr.lane.refusal import Refusal
from emr.lane.ticket import Batch, Request
from emr.lane.verdict import Ending, Verdict

PART = 8  # bytes of letters; any shared run of 2 * PART - 1 of them is found
SHORTEST = 4  # bytes of the letters of a text that could be recognised in a message
# a caller is never asked back sooner, as the whole seconds of Retry-After have it: whoever came at
# the very time of a probe would find it under way. Told that, a library that asks 110 times for a
# text used them all up within 25 s of an outage of a minute (one caller of 100 was served, now all)
COME_BACK_MIN_S = 1.0
NO_LETTERS = re.compile(r"[\W_]+")
# how JSON, Python and HTML write a character, however often one was put into another
ESCAPES = re.compile(
    r"\\+(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|[abfnrtv]?)"
    r"|&#x([0-9a-fA-F]{1,6});|&#([0-9]{1,7});|&(?:quot|apos|amp|lt|gt);"
)


def letters(text: str) -> bytes:
    """What is compared: letters and digits alone, so that quoting and escapes hide nothing."""
    if "\\" in text or "&" in text:
        text = ESCAPES.sub(_meant, text)
        # two escaped halves of a character become one
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return NO_LETTERS.sub("", text).encode("utf-8", "replace")


def _meant(escape: re.Match[str]) -> str:
    *hexadecimal, decimal = escape.groups()
    code = int(decimal) if decimal else int("".join(filter(None, hexadecimal)) or "0", 16)
    return chr(code) if 0 < code <= 0x10FFFF else ""


def repeats(message: bytes, text: bytes) -> bool:
    """Whether a recognisable part of the JSON text stands in a message (its letters)."""
    inner = letters(text.decode("utf-8", "replace"))
    if len(inner) >= SHORTEST and inner in message:
        return True
    return any(message[i : i + PART] in inner for i in range(0, len(message) - PART + 1, PART))


class Said:
    """A provider's message about one call, and who of its callers may read it."""

    __slots__ = ("_batch", "_message", "_quoted")

    def __init__(self, verdict: Verdict, batch: Batch) -> None:
        self._message = verdict.message
        self._batch = batch
        self._quoted: set[bytes] | None = None

    def to(self, request: Request) -> str:
        """The message as this caller may read it; empty when another's text stands in it."""
        if all(ticket.request is request for ticket in self._batch.tickets):
            return self._message  # whatever stands in it is this caller's own
        return self._message if self.is_for(request) else ""

    def is_for(self, request: Request) -> bool:
        """Whether each text that stands in the message is one of this caller's own."""
        return all(text in request.texts for text in self._quotes())

    def to_all(self) -> str:
        """The message as it may be told to everyone; empty when anyone's text stands in it."""
        return "" if self._quotes() else self._message

    def _quotes(self) -> set[bytes]:
        """The texts of the call that stand in the message; found once a call."""
        if self._quoted is None:
            said = letters(self._message)
            sent = (t.request.texts[i] for t in self._batch.tickets for i in t.places)
            self._quoted = {text for text in sent if repeats(said, text)}
        return self._quoted


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


def of_a_sharer(refusal: Refusal, index: int, place: int) -> Refusal:
    """What is told of a text at `index` of one request, to who has the same text at `place`."""
    if refusal.param is None:
        return refusal
    message = own_index(refusal.message, index, place)
    return replace(refusal, message=message, param=f"input[{place}]")


def bad_text(provider: str, verdict: Verdict, words: str, param: str | None) -> Refusal:
    """The 400 of a request whose text or parameters the provider refused."""
    return Refusal("validation_error", sentence(provider, verdict, words), param=param)


def mixed(provider: str) -> Refusal:
    """The 502 of a request whose calls brought vectors of two lengths."""
    return Refusal(
        "provider_error",
        f"{provider} answered one call with vectors of another length than the other: its model "
        "was exchanged meanwhile; ask again",
    )


def held_back(provider: str, ending: Ending, wait_s: float, words: str) -> Refusal:
    """The 429 or 503 of a request that a rate limit, or used up capacity, keeps too long."""
    wait_s = max(COME_BACK_MIN_S, wait_s)
    if ending is Ending.RATE:
        kind, said = "rate_limited", f"{provider} is rate limited"
    else:
        kind, said = "overloaded", f"{provider} has no capacity left"
    tail = f": {words}" if words else ""
    return Refusal(kind, f"{said}; try again in {wait_s:.1f} s{tail}", retry_after=wait_s)


def binned(provider: str, failures: int, wait_s: float) -> Refusal:
    """The 503 of a request that does not wait, or waited long enough, behind the sin-bin."""
    wait_s = max(0.0, wait_s)
    message = (
        f"{provider} is sin-binned after {failures} failed calls in a row; "
        f"the next try is in {wait_s:.1f} s"
    )
    return Refusal("provider_unavailable", message, retry_after=max(COME_BACK_MIN_S, wait_s))


def too_late(provider: str) -> Refusal:
    """The 504 of a request whose deadline passed."""
    return Refusal(
        "deadline_exceeded",
        f"the deadline passed while the request waited for {provider}; "
        "x-emr-timeout-ms sets a longer one",
    )
