"""What a dialect is: how one provider's JSON is written and read, and what the table asks of it.

The texts of a call are JSON already, so a body is joined from them as they came and never written
again: `{"model":…,"input":[` + `,`.join(texts) + `]…}`. Fields without a value are left out;
no provider means anything else by a null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import orjson

from emr.lane.ticket import Params
from emr.lane.verdict import Reply
from emr.upstream.call import Call
from emr.upstream.endpoint import Endpoint
from emr.upstream.reply import OPENAI_SHAPE, read_reply


class Unaskable(Exception):
    """A call that this provider's API cannot express: the reason, for its callers."""


class Dialect(Protocol):
    """How a provider's JSON is written and read. Without state; one serves all calls."""

    def headers(self, credential: str) -> list[tuple[str, str]]:
        """The header fields that carry the credential, none when it is empty."""

    def target(self, endpoint: Endpoint, params: Params) -> str:
        """The target of the request; some providers have the model in it."""

    def write(self, call: Call) -> bytes:
        """The body of the request. Raises Unaskable."""

    def read(self, call: Call, body: bytes) -> Reply:
        """The vectors of a good reply. Raises emr.upstream.reply.Unreadable."""


class UsualDialect:
    """What most providers have in common: a key as Bearer, one target, OpenAI's shape of a reply.

    `{model}` in the path of an endpoint stands for the model's name.
    """

    shape = OPENAI_SHAPE

    def headers(self, credential: str) -> list[tuple[str, str]]:
        """See Dialect."""
        return [("Authorization", f"Bearer {credential}")] if credential else []

    def target(self, endpoint: Endpoint, params: Params) -> str:
        """See Dialect."""
        target = endpoint.target(params.path)
        return target.replace("{model}", quote(params.model, safe="")) if "{" in target else target

    def read(self, call: Call, body: bytes) -> Reply:
        """See Dialect."""
        return read_reply(body, self.shape, call.params, len(call.texts))


def join_body(key: bytes, texts: Sequence[bytes], fields: Mapping[str, Any]) -> bytes:
    """A JSON object of `fields` that are not None (one at least), and the `texts` at `key`.

    Raises Unaskable for a value that JSON cannot hold: half of a surrogate pair in a name.
    """
    try:
        rest = orjson.dumps({name: value for name, value in fields.items() if value is not None})
    except orjson.JSONEncodeError:
        raise Unaskable("a field of the request is not text that JSON can hold") from None
    return b"".join((b'{"', key, b'":[', b",".join(texts), b"],", rest[1:]))


def refuse_token_ids(call: Call, name: str) -> None:
    """Raise Unaskable for lists of token ids, which mean nothing outside their vocabulary."""
    if call.params.token_ids:
        raise Unaskable(
            f"{name} does not take token ids: send texts (in LangChain: "
            "check_embedding_ctx_length=False)"
        )
