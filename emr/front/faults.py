"""The refusals that the server decides by itself, before any route is asked.

The types are those of the contract: every 400 is a `validation_error` there, and `bad_request`
stands for the statuses that only a server has. All of them end the connection.
"""

from __future__ import annotations

from emr.lane.refusal import Refusal, Refused

# What a client that met the limit of connections should wait: they come and go within a second.
OVERLOADED_RETRY_S = 1.0


def bad_request(message: str, status: int = 400) -> Refused:
    """The request breaks HTTP's rules (400), or asks what is not spoken here (414 to 505)."""
    kind = "validation_error" if status == 400 else "bad_request"
    return Refused(Refusal(kind, message, status=status))


def body_too_large(limit: int) -> Refused:
    """413, by Content-Length at once, or as soon as the chunks are past it."""
    return Refused(Refusal("too_large", f"the body is over {limit} bytes", status=413))


def head_too_large(limit: int) -> Refused:
    """431: the head, or the trailers after a chunked body."""
    return Refused(Refusal("too_large", f"the request head is over {limit} bytes", status=431))


def too_many_headers(limit: int) -> Refused:
    """431 for the number of header lines."""
    return Refused(Refusal("too_large", f"more than {limit} header lines", status=431))


def too_slow(what: str, seconds: float) -> Refusal:
    """408: a head or a body that did not come in time."""
    return Refusal("timeout", f"the {what} of the request took over {seconds:g} s", status=408)


def too_many_connections(limit: int) -> Refusal:
    """503 for a connection over the limit."""
    message = f"all {limit} connections are in use"
    return Refusal("overloaded", message, retry_after=OVERLOADED_RETRY_S, status=503)


def internal_error() -> Refusal:
    """502 for a handler that failed: what went wrong is in the log, not in the answer."""
    return Refusal("internal_error", "emr failed on this request; its log says where", status=502)
