"""The fake provider itself, without I/O: a request and the time in, an answer and its delay out.

Rules of this file. No clock, no socket, no task: `now` is seconds on a clock that does not go
back. `answer` decides everything that depends on the moment (limits, capacity, faults, latency);
the body is made when it is due. Every answer ends in exactly one of `replied` and `left`, which
count it and give its permits back. The same seed, settings and calls give the same answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import exp, isfinite
from random import Random
from typing import NamedTuple

import orjson

from emr.fake.capacity import Permits, Servers
from emr.fake.damage import HTML_TYPE, NUMBERED, html_page, spoil_body, spoil_vectors
from emr.fake.faults import SPOILT, Fault, draw
from emr.fake.forms import FORMS, find_route
from emr.fake.forms.form import Asked, Form, Route, duration
from emr.fake.forms.words import JSON, Complain, Complaint, Headers
from emr.fake.journal import Journal, Line
from emr.fake.quota import COMPLAINTS, Charged, Over, Quotas
from emr.fake.schedule import InForce, Poison, Rules
from emr.fake.settings import FakeSettings, RetryAfter, Tell, Words
from emr.fake.tally import Tally, key_id
from emr.fake.telling import amount, limit_headers, masked, retry_headers, seconds

FAULT_RETRY_S = 1.0  # what a 429 that comes as a fault asks for
NEVER_S = 60.0  # what one asks for that no waiting would let through
SLOWER = 10.0
# the facts of a limit, which nobody knows of one that was passed as a fault
UNTOLD = ("model", "limit", "used", "requested", "wait", "retry", "rpm", "tpm")


class Manner(Enum):
    """How an answer is sent."""

    WHOLE = "whole"
    HANG = "hang"
    RESET = "reset"
    CUT = "cut"
    STALL = "stall"
    DRIP = "drip"
    GIANT = "giant"


MANNERS = {
    Fault.HANG: Manner.HANG,
    Fault.RESET: Manner.RESET,
    Fault.CUT: Manner.CUT,
    Fault.STALL: Manner.STALL,
    Fault.DRIP: Manner.DRIP,
    Fault.GIANT: Manner.GIANT,
}
# faults that refuse the call: the complaint, and the status when it is not the form's own
REFUSALS: Mapping[Fault, tuple[Complaint, int | None]] = {
    Fault.RATE: (Complaint.RATE_CALLS, None),
    Fault.RATE_BARE: (Complaint.RATE_CALLS, None),
    Fault.ERROR: (Complaint.CRASH, 500),
    Fault.BAD_GATEWAY: (Complaint.BAD_GATEWAY, None),
    Fault.UNAVAILABLE: (Complaint.UNAVAILABLE, None),
    Fault.OVERLOADED: (Complaint.OVERLOADED, 529),
    Fault.CAPACITY: (Complaint.OVERLOADED, None),
    Fault.AUTH: (Complaint.BAD_KEY, None),
    Fault.FORBIDDEN: (Complaint.FORBIDDEN, None),
    Fault.QUOTA: (Complaint.QUOTA, None),
}


class Incoming(NamedTuple):
    """A call as it came in."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class Answer:
    """What a call gets, `delay_s` after it came. `asked` is None for a refusal."""

    form: Form
    key: str
    route: str = ""
    delay_s: float = 0.0
    status: int = 200
    headers: Headers = field(default_factory=list)
    ready: bytes = b""
    asked: Asked | None = None
    fault: Fault | None = None
    manner: Manner = Manner.WHOLE
    complaint: Complaint | None = None
    texts: int = 0  # permits held
    calls: int = 0
    line: Line | None = None

    def body(self) -> tuple[Headers, bytes]:
        """Make the body, with all headers; done when it is due, and once."""
        headers = self.headers
        if self.asked is None:
            return headers, self.ready
        headers += self.form.answer_headers(self.asked)
        vectors = self.form.vectors(self.asked)
        fault = self.fault
        if fault is None:
            return [JSON, *headers], self.form.write(self.asked, vectors)
        spoil_vectors(vectors, fault)
        error = b""
        if fault is Fault.ERROR_200:
            error = self.form.refuse(Complaint.CRASH, {"route": self.route}).body
        content, body = spoil_body(self.form.write(self.asked, vectors), fault, error)
        return content + headers, body


class Provider:
    """One fake provider: its settings and all that it remembers."""

    def __init__(self, settings: FakeSettings, now: float, wall: Callable[[], float]) -> None:
        self._wall = wall  # the time since 1970, for Retry-After as a date
        self.recent: deque[dict[str, object]] = deque()
        self.calls = Permits()
        self.texts = Permits()
        self._servers = Servers()
        self._rules = Rules(settings)
        self.reset(now)

    @property
    def settings(self) -> FakeSettings:
        """The base settings, without what a schedule changes."""
        return self._rules.base

    def configure(self, settings: FakeSettings) -> None:
        """Set other settings, from the next call on; raises ValueError and changes nothing."""
        rules = Rules(settings)
        if settings.seed != self.settings.seed:
            self._rng = Random(settings.seed)
        self._rules = rules

    def reset(self, now: float) -> None:
        """Begin again: counts, limits, random numbers and the schedule, not the settings."""
        self._since = now
        self._rules.restart()
        self._rng = Random(self.settings.seed)
        self._quotas = Quotas(self.settings.seed)
        self.tally = Tally(since=now)
        self.journal = Journal()
        self.calls.most_seen, self.texts.most_seen = self.calls.used, self.texts.used
        self.recent.clear()

    def way_s(self, now: float) -> float:
        """How long a call that leaves its client now is on its way."""
        return self._rules.at(now - self._since).settings.uplink_ms / 1000.0

    def plain(self, now: float) -> dict[str, object]:
        """The counts as JSON shows them."""
        return self.tally.plain(now) | {
            "in_flight": self.calls.used,
            "max_in_flight": self.calls.most_seen,
            "max_texts_in_flight": self.texts.most_seen,
        }

    # the life of a call

    def answer(self, call: Incoming, now: float) -> Answer:
        """Take in a call; the answer is due `delay_s` later."""
        method, path, body = call.method, call.path, call.body
        self.tally.calls += 1
        force = self._rules.at(now - self._since)
        s = force.settings
        found = find_route(path, s.form)
        form = found[0] if found is not None else FORMS[s.form]
        key = form.key(call.headers)
        answer = Answer(form, key or "", fault=draw(force.odds, self._rng))
        if s.journal:
            answer.line = self.journal.open(now - self._since)
        self.calls.most, self.texts.most = s.concurrent_calls, s.concurrent_texts
        try:
            if found is None:
                raise Complain(Complaint.NO_ROUTE, path=path)
            if method != "POST":
                raise Complain(Complaint.BAD_METHOD, path=path, method=method)
            answer.route = found[1].name
            check_key(form, key, s)
            asked = read(form, found[1]._replace(query=call.query), body, force)
            if answer.line is not None:
                answer.line.texts, answer.line.tokens = len(asked.texts), asked.total
            self._admit(answer, asked, force, now)
        except Complain as refused:
            self._refuse(answer, refused, s)
        if answer.line is not None and answer.fault is not None:
            answer.line.fault = answer.fault.value
        if s.record:
            self.recent.append(record(path, body, answer))
            while len(self.recent) > s.record:
                self.recent.popleft()
        return answer

    def replied(self, answer: Answer, now: float) -> None:
        """The answer was sent, as far as its manner lets it."""
        self._release(answer)
        self._close(answer, answer.status, now)
        self.tally.by_status[answer.status] += 1
        if answer.fault is not None:
            self.tally.by_fault[answer.fault.value] += 1
        if answer.complaint is not None:
            self.tally.by_complaint[answer.complaint.value] += 1
        asked = answer.asked
        if asked is None:
            return
        self.tally.by_size[len(asked.texts)] += 1
        if answer.fault in SPOILT:
            self.tally.spoilt.add(len(asked.texts), asked.total)
        else:
            self.tally.add_good(answer.key, asked.model, len(asked.texts), asked.total)

    def left(self, answer: Answer, now: float) -> None:
        """The client went away, or its connection was broken, before it had an answer."""
        self._release(answer)
        self._close(answer, 0, now)
        if answer.fault is not None:
            self.tally.by_fault[answer.fault.value] += 1
        texts, tokens = (len(answer.asked.texts), answer.asked.total) if answer.asked else (0, 0)
        self.tally.left.add(texts, tokens)

    def _close(self, answer: Answer, status: int, now: float) -> None:
        """Note how a call ended."""
        line = answer.line
        if line is not None:
            line.status, line.ended_s = status, now - self._since

    def _release(self, answer: Answer) -> None:
        self.calls.release(answer.calls)
        self.texts.release(answer.texts)
        answer.calls = answer.texts = 0

    # its parts

    def _admit(self, answer: Answer, asked: Asked, force: InForce, now: float) -> None:
        """Let a well-formed call through faults, limits and capacity; raises Complain."""
        s, fault = force.settings, answer.fault
        texts, tokens = len(asked.texts), asked.total
        quota = self._quotas.of(answer.key, asked.model, s, now)
        failed = True
        try:
            if fault is not None and fault in REFUSALS:
                raise Complain(REFUSALS[fault][0])
            check_poison(answer, asked, self._rules.poison)
            if quota is not None:
                amounts = {Charged.CALLS: 1.0, Charged.TOKENS: tokens, Charged.ITEMS: texts}
                over = quota.ask(amounts, now)
                if over is not None:
                    wait = over.wait_s if isfinite(over.wait_s) else NEVER_S
                    how = s.retry_after
                    answer.headers += retry_headers(answer.form, wait, how, self._wall())
                    raise passed(over, asked, wait, s)
            work = work_s(texts, tokens, s, self._rng) * (SLOWER if fault is Fault.SLOW else 1.0)
            begin = self._begin(answer, texts, work, s, now)
            failed = False
        finally:
            if failed and s.count_failed and quota is not None:
                quota.count_failed(now)
            answer.headers += limit_headers(answer.form, quota, s, now)
        if fault in NUMBERED and answer.route in answer.form.unnumbered:
            answer.fault = None
        elif fault is not None:
            answer.manner = MANNERS.get(fault, answer.manner)
        answer.asked = asked
        # on its way it is worked on by nobody: servers with a line begin when it is there
        way = 0.0 if s.servers else s.uplink_ms / 1000.0
        answer.delay_s = max(0.0, begin - now + work - way)
        if answer.line is not None:
            answer.line.work_s = work

    def _begin(self, answer: Answer, texts: int, work: float, s: FakeSettings, now: float) -> float:
        """When work on a call begins; raises Complain when there is no capacity."""
        if not self.calls.acquire(1):
            raise Complain(Complaint.OVERLOADED)
        answer.calls = 1
        if not self.texts.acquire(texts):
            raise Complain(Complaint.OVERLOADED)
        answer.texts = texts
        self._servers.resize(s.servers, s.waiting)
        begin = self._servers.start(work, now)
        if begin is None:
            raise Complain(Complaint.OVERLOADED)
        return begin

    def _refuse(self, answer: Answer, refused: Complain, s: FakeSettings) -> None:
        complaint, facts = refused.complaint, refused.facts
        fault, status = answer.fault, None
        self._release(answer)
        struck = REFUSALS.get(fault) if fault is not None else None
        if struck is not None and struck[0] is complaint:
            status = struck[1]
            facts = dict.fromkeys(UNTOLD)
            facts["key"] = masked(answer.key)
            if fault is Fault.RATE:
                facts["retry"] = seconds(FAULT_RETRY_S)
                answer.headers += retry_headers(
                    answer.form, FAULT_RETRY_S, RetryAfter.RIGHT, self._wall()
                )
        else:
            answer.fault = None
        usual, content, body = answer.form.refuse(complaint, facts | {"route": answer.route})
        if fault is Fault.BAD_GATEWAY and answer.fault is fault:
            content, body = HTML_TYPE, html_page("502 Bad Gateway")
        answer.status = status or usual
        answer.headers.insert(0, content)
        answer.ready = body
        answer.complaint = complaint
        answer.delay_s = s.refusal_ms / 1000.0
        if answer.line is not None:
            answer.line.complaint = complaint.value


def record(path: str, body: bytes, answer: Answer) -> dict[str, object]:
    """A call as /_fake/calls shows it."""
    return {
        "path": path,
        "key": key_id(answer.key),
        "status": answer.status,
        "fault": answer.fault.value if answer.fault else None,
        "body": body.decode("utf-8", "replace"),
    }


def check_key(form: Form, key: str | None, s: FakeSettings) -> None:
    """Raises Complain for a missing key, or one that is not among those set."""
    if key is None:
        if s.strict and (form.needs_key or s.keys):
            raise Complain(Complaint.NO_KEY)
    elif s.keys and key not in s.keys.replace(",", " ").split():
        raise Complain(Complaint.BAD_KEY, key=masked(key))


def read(form: Form, route: Route, body: bytes, force: InForce) -> Asked:
    """The call as the form understands it; raises Complain."""
    most = force.settings.max_bytes
    if 0 < most < len(body):
        raise Complain(Complaint.BODY_TOO_LARGE, most=most, got=len(body))
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Complain(Complaint.BAD_JSON) from None
    if not isinstance(parsed, dict):
        raise Complain(Complaint.BAD_JSON)
    return form.read(route, parsed, force.caps)


def work_s(texts: int, tokens: int, s: FakeSettings, rng: Random) -> float:
    """How long the provider works on a call, drawn from its distribution."""
    median = s.latency_ms + texts * s.latency_ms_per_text + tokens * s.latency_ms_per_token
    if s.latency_sigma > 0.0:
        median *= exp(rng.gauss(0.0, s.latency_sigma))
    return median / 1000.0


def check_poison(answer: Answer, asked: Asked, poison: Sequence[tuple[str, Poison]]) -> None:
    """Raises Complain for the first text with a marker, or lets the call hang."""
    for marker, how in poison:
        for index, text in enumerate(asked.texts):
            if isinstance(text, str) and marker in text:
                if how is Poison.INDEX:
                    raise Complain(Complaint.POISON_AT, index=index)
                if how is Poison.SILENT:
                    raise Complain(Complaint.POISON)
                if how is Poison.CRASH:
                    raise Complain(Complaint.CRASH)
                answer.manner = Manner.HANG


def passed(over: Over, asked: Asked, wait: float, s: FakeSettings) -> Complain:
    """The complaint of a passed limit, with its figures unless nothing is to be told.

    `retry` is what a body says about when to come again, where other providers have a header.
    """
    told = s.words is Words.FIGURES or (s.words is Words.TELL and s.tell is not Tell.NONE)
    says_when = s.retry_after in (RetryAfter.REAL, RetryAfter.RIGHT)
    return Complain(
        COMPLAINTS[over.charged],
        model=asked.model,
        limit=over.limit if told else None,
        used=over.used if told else None,
        requested=over.requested if told else None,
        wait=duration(wait) if told else None,
        retry=seconds(wait) if says_when else None,
        rpm=amount(s.rpm) if told and s.rpm else None,
        tpm=amount(s.tpm) if told and s.tpm else None,
    )
