"""A batch of lines to the router, and what came of each line, as NDJSON.

Rules of this file
- What passes (429, 5xx, a broken connection) is tried again, as long as the router says to wait.
- A text that is refused, by its place in the answer, fails alone: the others are sent again.
- A batch that is too large is sent in halves.
- What would refuse every further batch too (the key, the model, a parameter) ends it all.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from emr.cli.ask.address import Address
from emr.cli.ask.api import broken, message_of
from emr.cli.bulk.lines import Line
from emr.cli.trouble import Trouble

if TYPE_CHECKING:
    from emr.control.secrets import Secret

TRIES = 6  # with the waits below about a minute: a router that restarts is back by then
WAIT_S = 1.0  # before the second try when nobody says how long; doubled each time
WAIT_MAX_S = 60.0
ANSWER_S = 3700.0  # the longest deadline that a router may be given is an hour
PASSING = (408, 429, 502, 503, 504)
BAD_REQUEST, UNAUTHORIZED, TOO_LARGE = 400, 401, 413
_PLACE = re.compile(r"input\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for each batch: the fields of the request, and whether texts are repeated."""

    fields: Mapping[str, object]
    with_text: bool = False


@dataclass(slots=True)
class Done:
    """A batch that is over: a line of NDJSON for each line, and the figures."""

    lines: list[bytes] = field(default_factory=list)
    embedded: int = 0
    failed: int = 0
    tokens: int = 0
    answered_by: str = ""


class Sender:
    """Sends batches. May be used by several threads."""

    def __init__(
        self, client: httpx.Client, address: Address, key: Secret, wish: Wish,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._client = client
        self._address = address
        self._key = key
        self._wish = wish
        self._sleep = sleep

    def send(self, batch: Sequence[Line]) -> Done:
        """Have the lines embedded. Raises Trouble when there is no use in going on."""
        done = Done()
        vectors: dict[int, Any] = {}
        self._embed([line for line in batch if not line.error], vectors, done)
        for line in batch:
            told: dict[str, object] = {"index": line.index}
            if self._wish.with_text:
                told["text"] = line.text
            if line.index in vectors:
                told["embedding"] = vectors[line.index]
                done.embedded += 1
            else:
                told["error"] = line.error
                done.failed += 1
            done.lines.append(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
        return done

    def _embed(self, lines: Sequence[Line], vectors: dict[int, Any], done: Done) -> None:
        """Put the vectors of `lines` into `vectors` by index, else the reason into the line."""
        left = list(lines)
        while left:
            answer = self._post([line.text for line in left])
            if answer.is_success:
                self._take(answer, left, vectors, done)
                return
            place = place_of(answer)
            message = message_of(answer.content) or f"it answers {answer.status_code}"
            if place is not None and place < len(left):
                left.pop(place).error = message
            elif is_too_large(answer) and len(left) > 1:
                half = len(left) // 2
                self._embed(left[:half], vectors, done)
                left = left[half:]
            elif answer.status_code in PASSING or is_too_large(answer):
                for line in left:
                    line.error = message
                return
            else:
                raise self._hopeless(answer, message)

    def _take(
        self, answer: httpx.Response, lines: Sequence[Line], vectors: dict[int, Any], done: Done
    ) -> None:
        try:
            told = orjson.loads(answer.content)
            found = {int(entry["index"]): entry["embedding"] for entry in told["data"]}
            taken = {line.index: found[place] for place, line in enumerate(lines)}
            done.tokens += int(told["usage"]["total_tokens"])
            done.answered_by = f"{told.get('provider', '?')}/{told.get('model', '?')}"
        except (ValueError, KeyError, TypeError) as error:
            raise Trouble(f"{self._address} does not answer as emr does") from error
        vectors |= taken

    def _post(self, texts: list[str]) -> httpx.Response:
        """The answer, once there is one that no further try would better. Raises Trouble."""
        body = orjson.dumps({**self._wish.fields, "input": texts})
        wait_s = WAIT_S
        for attempt in range(1, TRIES + 1):
            try:
                answer = self._client.post("/v1/embeddings", content=body, timeout=ANSWER_S)
            except httpx.HTTPError as error:
                if attempt == TRIES:
                    raise Trouble(broken(self._address, error)) from error
                told_s = None
            else:
                is_final = answer.headers.get("x-should-retry") == "false"
                if answer.status_code not in PASSING or is_final or attempt == TRIES:
                    return answer
                told_s = wait_told_s(answer)
            self._sleep(min(wait_s if told_s is None else told_s, WAIT_MAX_S))
            wait_s *= 2
        raise AssertionError("the last try neither answered nor raised: a bug")

    def _hopeless(self, answer: httpx.Response, message: str) -> Trouble:
        if answer.status_code == UNAUTHORIZED:
            return Trouble(f"{self._address} refuses the key from {self._key.source}: {message}")
        return Trouble(message)


def place_of(answer: httpx.Response) -> int | None:
    """Which text a 400 refuses."""
    match = _PLACE.match(_param(answer)) if answer.status_code == BAD_REQUEST else None
    return None if match is None else int(match[1])


def is_too_large(answer: httpx.Response) -> bool:
    """Whether fewer texts might be taken."""
    if answer.status_code == BAD_REQUEST:
        return _param(answer) == "input"
    return answer.status_code == TOO_LARGE


def wait_told_s(answer: httpx.Response) -> float | None:
    """How long the router says to wait, None when it does not say."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = answer.headers.get(name, "")
        if text.isascii() and text.isdecimal():
            return int(text) * unit
    return None


def _param(answer: httpx.Response) -> str:
    try:
        param = orjson.loads(answer.content)["error"]["param"]
    except (ValueError, KeyError, TypeError):
        return ""
    return param if isinstance(param, str) else ""
