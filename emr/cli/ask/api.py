"""A server's API as a client asks it: JSON in, JSON out, and every refusal a Trouble.

The proxies and certificates that the environment names for other programs are not used: what goes
to emr is the admin secret, and it goes to emr alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from emr import __version__
from emr.cli.ask.address import Address, Server
from emr.cli.ask.tls import nobody_trusted
from emr.cli.output import plain, say
from emr.cli.trouble import Trouble
from emr.control.secrets import Secret

CONNECT_S = 5.0  # as the provider side's default
ANSWER_S = 30.0  # a commit to a slow disk
UNAUTHORIZED = 401


def client(server: Server, token: str) -> httpx.Client:
    """A client of `server` that shows `token`. It may be used by several threads."""
    address = server.address
    if address.scheme == "http" and not address.is_loopback:
        say(f"emr: {address} has no TLS: what is sent crosses the network in the clear")
    transport = httpx.HTTPTransport(
        verify=server.context or nobody_trusted(),
        uds=address.socket or None,
        limits=httpx.Limits(max_connections=None),
    )
    return httpx.Client(
        base_url=address.url,
        transport=transport,
        trust_env=False,
        timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
        headers={"authorization": f"Bearer {token}", "user-agent": f"emr/{__version__}"},
    )


def part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="", errors="replace")


class Api:
    """The admin API of a server, asked with the admin secret."""

    def __init__(self, server: Server, secret: Secret) -> None:
        self._server = server
        self._secret = secret
        self._client = client(server, secret.value)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, object] | None = None,
        answer_s: float = ANSWER_S,
    ) -> Any:
        """The value that is answered; None for an answer without one. Raises Trouble."""
        answer = self.answer(method, path, fields, answer_s)
        if answer.is_success:
            return value_of(answer.content) if answer.content else None
        raise Trouble(self.refusal(answer))

    def answer(
        self, method: str, path: str, fields: Mapping[str, object] | None, answer_s: float
    ) -> httpx.Response:
        """The answer as it came, whatever its status. Raises Trouble when there is none."""
        try:
            return self._client.send(self._request(method, path, fields, answer_s))
        except httpx.HTTPError as error:
            raise self._broken(error) from error

    def lines(
        self, path: str, fields: Mapping[str, object], line_s: float
    ) -> Iterator[dict[str, Any]]:
        """The JSON objects that a POST streams, each within `line_s` seconds. Raises Trouble."""
        request = self._request("POST", path, fields, line_s)
        try:
            answer = self._client.send(request, stream=True)
            try:
                if not answer.is_success:
                    answer.read()
                    raise Trouble(self.refusal(answer))
                for line in answer.iter_lines():
                    yield value_of(line.encode())
            finally:
                answer.close()
        except httpx.HTTPError as error:
            raise self._broken(error) from error

    def refusal(self, answer: httpx.Response) -> str:
        """Why the server refused, in its own words."""
        said = message_of(answer.content) or f"it answers {answer.status_code}"
        if answer.status_code == UNAUTHORIZED:
            used = f"the admin secret from {self._secret.source}"
            return f"{self._server.address} refuses {used}: {said}"
        return said

    def _request(
        self, method: str, path: str, fields: Mapping[str, object] | None, answer_s: float
    ) -> httpx.Request:
        body = None if fields is None else json.dumps(fields).encode()
        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        headers = {"content-type": "application/json"}
        return self._client.build_request(
            method, path, content=body, timeout=timeout, headers=headers
        )

    def _broken(self, error: httpx.HTTPError) -> Trouble:
        return Trouble(broken(self._server.address, error))


def broken(address: Address, error: httpx.HTTPError) -> str:
    """Why there was no answer, in a sentence."""
    if isinstance(error, httpx.ConnectError):
        return f"no emr can be reached at {address}: {error}"
    if isinstance(error, httpx.TimeoutException):
        return f"{address} does not answer in time"
    return f"{address} broke the connection: {error}"


def value_of(body: bytes) -> Any:
    """A JSON value. Raises Trouble."""
    try:
        return json.loads(body)
    except ValueError as error:
        raise Trouble("the answer is not JSON: is this an emr?") from error


def message_of(body: bytes) -> str:
    """The message of an error body, empty when it has none."""
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    error = told.get("error") if isinstance(told, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return plain(message) if isinstance(message, str) else ""
