"""One call to a provider over HTTP: a Call goes in, an Outcome comes out, and nothing is raised.

The only place that knows a credential after it was read. It is written into the head of requests
to the endpoint that it was saved for and nowhere else: not into an error, a `repr` or a log; what
a provider says is freed of it (`said.clean`).
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from emr import __version__
from emr.lane.ticket import Params
from emr.lane.verdict import OK, Ending, Reply, Verdict
from emr.upstream.call import Call, Landed, Outcome, Started
from emr.upstream.classify import classify, classify_misread
from emr.upstream.dialects import dialect_of
from emr.upstream.dialects.dialect import Unaskable
from emr.upstream.endpoint import Endpoint
from emr.upstream.fault import Fault, Stage
from emr.upstream.kinds import Kind
from emr.upstream.limits import limits_of_headers
from emr.upstream.link import Answer, Ended
from emr.upstream.reply import Unreadable, read_passed_on
from emr.upstream.transport import Transport
from emr.upstream.vector import DTYPES

# A larger reply is read in a thread. A full call of 128 vectors of 1,024 floats is 1.4 to 2.6 MiB
# and takes 5 ms. In a thread it takes no less, and the loop waits for the interpreter as long: with
# a limit of 1 MiB the median of 1,000 callers at once is 1.42 of the provider's time, with 4 it is
# 1.26 (`tests/e2e/burst.py`).
READ_ON_LOOP_MAX = 4 * 1024 * 1024
MAX_HEADS = 64  # of a provider: one, or one for each model that its path names
# With fewer texts no honest answer is too large: that is 256 KiB for each, 12,000 numbers of 20
# characters. With more, the call was too large: half of it may do.
MANY_TEXTS = 256


class HttpCaller:
    """Calls one provider with one credential. Implements emr.upstream.call.Caller."""

    __slots__ = ("_credential", "_dialect", "_endpoint", "_heads", "_kind", "_transport")

    def __init__(
        self, kind: Kind, endpoint: Endpoint, credential: str, transport: Transport
    ) -> None:
        """`credential` may be empty, for servers that want none.

        Raises ValueError when it holds what no header may: a line end would add a field of its
        own to every request.
        """
        if not credential.isascii() or not credential.isprintable() or " " in credential:
            raise ValueError("the provider's key has a character that no key may have")
        self._kind = kind
        self._endpoint = endpoint
        self._credential = credential
        self._transport = transport
        self._dialect = dialect_of(kind, endpoint)
        self._heads: dict[str, bytes] = {}  # by their target, all but the length

    def __repr__(self) -> str:
        return f"<HttpCaller {self._kind.name} {self._endpoint}>"

    def begin(self, call: Call, landed: Landed) -> Started:
        """See emr.upstream.call.Caller."""
        try:
            head, body = self._write(call)
        except Unaskable as error:
            outcome = Outcome(Verdict(Ending.BAD_REQUEST, None, str(error)))
            return asyncio.get_running_loop().call_soon(landed, lambda: outcome)
        done = partial(self._ended, call, landed)
        return self._transport.begin(
            self._endpoint, head + body, call.first_byte_s, call.whole_s, done
        )

    def _ended(self, call: Call, landed: Landed, ended: Ended) -> None:
        if isinstance(ended, Answer) and len(ended.body) > READ_ON_LOOP_MAX:
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(None, self._outcome, call, ended)
            work.add_done_callback(lambda work: landed(work.result))
        else:
            landed(partial(self._outcome, call, ended))

    def _outcome(self, call: Call, ended: Ended) -> Outcome:
        if isinstance(ended, Fault):
            return Outcome(_verdict_of(ended, len(call.texts)))
        if not isinstance(ended, Answer):
            raise ended
        status, headers, body = ended.status, ended.headers, ended.body
        limits = limits_of_headers(headers)
        if not 200 <= status < 300:
            verdict = classify(status, headers, body, time.time(), self._credential, call.texts)
            return Outcome(verdict, None, ended.first_byte_s, limits)
        try:
            reply = self._read(call, ended)
        except Unreadable as error:
            verdict = classify_misread(
                body, error.ending, error.message, self._credential, call.texts
            )
            return Outcome(verdict, None, ended.first_byte_s, limits)
        return Outcome(OK, reply, ended.first_byte_s, limits)

    def _write(self, call: Call) -> tuple[bytes, bytes]:
        """The head and the body of the request. Raises Unaskable."""
        params = call.params
        if params.whole is not None:
            body = params.whole
        else:
            self._check(params)
            body = self._dialect.write(call)
        target = self._dialect.target(self._endpoint, params)
        head = self._heads.get(target)
        if head is None:
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            head = self._heads[target] = self._head(target)
        return b"%s%d\r\n\r\n" % (head, len(body)), body

    def _check(self, params: Params) -> None:
        kind = self._kind
        if params.dtype not in kind.dtypes or params.dtype not in DTYPES:
            raise Unaskable(
                f"{kind.name} has no vectors of type {params.dtype}: {', '.join(kind.dtypes)}"
            )

    def _head(self, target: str) -> bytes:
        """The head of a request up to the value of its Content-Length."""
        if not target.isascii() or not target.isprintable() or " " in target:
            raise Unaskable("the path of the request has a character that no path may have")
        lines = [
            f"POST {target} HTTP/1.1",
            f"Host: {self._endpoint.authority}",
            *[f"{name}: {value}" for name, value in self._dialect.headers(self._credential)],
            "Content-Type: application/json",
            "Accept: application/json",
            "Accept-Encoding: identity",
            f"User-Agent: emr/{__version__}",
            "Content-Length: ",
        ]
        return "\r\n".join(lines).encode("ascii")

    def _read(self, call: Call, answer: Answer) -> Reply:
        """The reply's vectors, or its body when the request was passed on. Raises Unreadable."""
        if call.params.whole is not None:
            return read_passed_on(answer.body, call.params)
        return self._dialect.read(call, answer.body)


def _verdict_of(fault: Fault, texts: int) -> Verdict:
    """The verdict of an exchange without an answer: it may pass when tried again, or in parts."""
    if fault.stage is Stage.TOO_LARGE and texts > MANY_TEXTS:
        return Verdict(Ending.SIZE_ITEMS, None, fault.message)
    return Verdict(Ending.TRANSIENT, None, fault.message, timed_out=fault.timed_out)
