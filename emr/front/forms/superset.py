"""The one answer that OpenAI's, Voyage's, Mistral's and the router's own clients all read.

An answer is a list of parts that are joined once. Vectors go into it as they are; the text between
two of them depends on nothing but the index, so it is made once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from emr.front.desk import Ask
from emr.front.forms.vectors import BASE64, NUMBERS, vectors_of
from emr.front.refusals import json_text
from emr.lane.ticket import Request

_FIRST = b'{"object":"embedding","index":0,"embedding":'
_BETWEEN = b'},{"object":"embedding","index":%d,"embedding":'

KEPT = 2048  # the most texts of a request by default: 200 KB of text, made in half a millisecond

_SEPARATORS = [_FIRST, *[_BETWEEN % i for i in range(1, KEPT)]]


def _separators(count: int) -> Sequence[bytes]:
    """What stands before each of `count` vectors."""
    if count <= KEPT:
        return _SEPARATORS[:count]
    return [*_SEPARATORS, *[_BETWEEN % i for i in range(KEPT, count)]]


def writing_of(ask: Ask) -> int:
    """How the caller wants its vectors written."""
    return BASE64 if ask.base64 else NUMBERS


def data_parts(ask: Ask, request: Request) -> list[bytes]:
    """The members `data` and on, up to `usage`'s name: `"data":[...],"model":...,`.

    Raises Refused: provider_error.
    """
    vectors = vectors_of(request, writing_of(ask))
    count = len(vectors)
    parts = [b'"data":['] * (2 * count + 1)
    parts[1::2] = _separators(count)
    parts[2::2] = vectors
    parts.append(b'}],"model":%b,' % json_text(request.model))
    return parts


def usage(request: Request) -> bytes:
    """The member `usage`. Voyage's client needs the total, OpenAI's both."""
    return b'"usage":{"prompt_tokens":%d,"total_tokens":%d}' % (request.billed, request.billed)


def render(ask: Ask, request: Request, request_id: str) -> bytes:
    """The whole answer to one request.

    Raises Refused: provider_error.
    """
    if len(request.vectors) == 1:
        (vector,) = vectors_of(request, writing_of(ask))
        return b"".join(
            (
                b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":',
                vector,
                b'}],"model":',
                json_text(request.model),
                b',"provider":',
                json_text(request.answered_by),
                b',"usage":{"prompt_tokens":%d,"total_tokens":%d},"id":"%b"}'
                % (request.billed, request.billed, request_id.encode("ascii")),
            )
        )
    parts = data_parts(ask, request)
    parts[0] = b'{"object":"list","data":['
    parts.append(
        b'"provider":%b,%b,"id":"%b"}'
        % (json_text(request.answered_by), usage(request), request_id.encode("ascii"))
    )
    return b"".join(parts)
