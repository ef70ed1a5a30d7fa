"""How an exchange with a provider can fail before there is an answer: a small closed set."""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    """Where the exchange was when it failed."""

    CONNECT = "connect"  # the name, the address, the connection
    TLS = "tls"  # the handshake, the certificate
    WRITE = "write"  # the request was not taken
    FIRST_BYTE = "first byte"  # the request was sent, nothing came back
    BODY = "body"  # the answer began and did not end
    PROTOCOL = "protocol"  # what came is not HTTP as it should be
    TOO_LARGE = "too large"  # the answer's body is larger than emr takes


class Fault(Exception):
    """An exchange that failed. `message` is one line, without the request, its key or its texts.

    `timed_out`: it was given up. `stale`: the connection was closed before any byte of the answer
    came; if it had been idle before, the request may be sent once more on a fresh one.
    """

    def __init__(
        self, stage: Stage, message: str, *, timed_out: bool = False, stale: bool = False
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.message = message
        self.timed_out = timed_out
        self.stale = stale
