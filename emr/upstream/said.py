"""What an error reply says: its words on one line, its codes, and nothing that must not be said.

Every provider has its own place for the words, so all known places are looked at:

    {"error": {"message", "type", "code", "param", "status", "details"}}   OpenAI, Gemini, …
    {"error": "words", "error_type": "…"}                                 TEI, Ollama
    {"message": "words", "type": "…", "code": "…"}                        Cohere, Mistral, TEI
    {"detail": "words", "error_code": "…"}                                Voyage, Jina
    {"detail": [{"loc": […], "msg": "…", "ctx": {…}}, …]}                 FastAPI
    {"detail": "words", "errors": [{"field", "message", "input"}, …]}     Jina

Of the entries of a list only place and message are taken: their `input` is the refused value, that
is, a caller's text. A body of another shape is taken only when it is a short plain text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

LISTEN_MAX = 1024 * 1024  # bytes of an error reply that are read at all: 2 ms
MESSAGE_MAX = 500  # characters of the provider's words that emr passes on
_LOOKED_AT = 4096  # characters of the body's words: enough for any error, cheap to clean
_HEARD = 8  # entries of a list of errors that are looked at
_KEY_PART = 8  # characters in a row of the credential that must not be told
_KEY_MIN = 4  # a shorter credential is a word of any message
_ECHO_MIN = 8  # characters of a text that must be hidden; shorter ones are words of any message
_ECHO_HEAD = 24  # a longer text is often quoted by its beginning only

_SECRETS = re.compile(
    r"bearer\s+\S+"
    r"|\b(?:sk|pk|pa|al|ak|gsk|hf|emr|jina|xai|nvapi)[-_][\w*.+/=-]{4,}"
    r"|\bAIza[\w-]{8,}"
    r"|\b(?:api[-_ ]?key|token|secret)\s*[=:]\s*\S{4,}",
    re.IGNORECASE,
)
_HIDDEN = "[hidden]"
_PARAM = re.compile(r"(?:input|texts)\[([0-9]{1,6})\]")


@dataclass(slots=True)
class Said:
    """The words of an error reply and its codes, both as given; `codes` are lower-case words.

    `details` are the members of Gemini's `error.details`.
    """

    words: str = ""
    codes: frozenset[str] = frozenset()
    details: list[dict[str, Any]] = field(default_factory=list)
    status: int | None = None  # that the body names, when the reply's own says nothing
    index: int | None = None  # of the text that `param` names: `input[3]`


def listen(body: bytes) -> Said:
    """What the body of an error reply says; of any bytes, never raises."""
    if len(body) > LISTEN_MAX:
        return Said()
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Said(_plain(body))
    if type(value) is list and value and type(value[0]) is dict:
        value = value[0]  # as Gemini's streaming routes answer
    if type(value) is not dict:
        return Said(value[:_LOOKED_AT] if type(value) is str else "")
    inner = value.get("error")
    places = [inner, value] if type(inner) is dict else [value]
    words = ""
    codes: set[str] = set()
    said = Said()
    for place in places:
        for key in ("message", "detail", "error", "msg", "title"):
            words = words or _words(place.get(key))
        for key in ("code", "type", "error_code", "error_type", "status"):
            code = place.get(key)
            if type(code) is str and len(code) < 100:
                codes.add(code.lower())
            elif type(code) is int:
                codes.add(str(code))
                if key in ("code", "status") and 400 <= code < 600:
                    said.status = code
        param = place.get("param")
        at = _PARAM.fullmatch(param) if type(param) is str else None
        if at is not None:
            said.index = int(at.group(1))
        errors = place.get("errors")
        if type(errors) is list:
            words = "; ".join(filter(None, [words, *map(_field, errors[:_HEARD])]))
        details = place.get("details")
        if type(details) is list:
            said.details += [d for d in details[:_HEARD] if type(d) is dict]
    said.words = words[:_LOOKED_AT]
    said.codes = frozenset(codes)
    return said


def _words(value: Any) -> str:
    """The words at one of the known places."""
    if type(value) is str:
        return value
    if type(value) is dict:  # Mistral puts FastAPI's list into `message`
        return _words(value.get("detail") or value.get("message"))
    if type(value) is list:
        return "; ".join(filter(None, map(_entry, value[:_HEARD])))
    return ""


def _entry(value: Any) -> str:
    """One entry of a FastAPI error, as `body.input: the message`."""
    if type(value) is not dict:
        return value if type(value) is str else ""
    msg, loc = value.get("msg"), value.get("loc")
    if type(msg) is not str:
        return ""
    if type(loc) is not list:
        return msg
    place = ".".join(str(part) for part in loc if type(part) in (str, int))
    return f"{place}: {msg}" if place else msg


def _field(value: Any) -> str:
    """One entry of Jina's list of errors, as `body -> input: the message`."""
    if type(value) is not dict or type(value.get("message")) is not str:
        return ""
    message: str = value["message"]
    place = value.get("field")
    return f"{place}: {message}" if type(place) is str else message


def _plain(body: bytes) -> str:
    """The words of a body that is not JSON: a short plain text, or the title of a page."""
    text = body[:_LOOKED_AT].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = re.search(r"<title>([^<]{1,200})</title>", text, re.IGNORECASE)
        return title.group(1) if title else ""
    return text if len(body) <= MESSAGE_MAX else ""


def clean(words: str, credential: str, texts: Sequence[bytes] = ()) -> str:
    """`words` as one printable line.

    What looks like a key, the call's own `credential` or a part of it, and what quotes one of
    `texts` (JSON texts) is hidden: an error may reach callers who share nothing but the call, and
    the numbers in a caller's text are not the provider's.
    """
    words = _flat(words[:_LOOKED_AT])
    words = _SECRETS.sub(_HIDDEN, _without_key(words, credential))
    for text in texts:
        if len(text) > _ECHO_MIN:
            words = _without(words, text)
    return words


def shorten(words: str) -> str:
    """At most MESSAGE_MAX characters of clean words."""
    return words if len(words) <= MESSAGE_MAX else words[: MESSAGE_MAX - 1] + "…"


def _without_key(words: str, credential: str) -> str:
    """`words` with every part that they share with the credential hidden."""
    size = min(len(credential), _KEY_PART)
    if size < _KEY_MIN:
        return words
    parts = {credential[i : i + size] for i in range(len(credential) - size + 1)}
    kept: list[str] = []
    at = 0
    for i in range(len(words) - size + 1):
        if words[i : i + size] in parts:
            if i > at or not kept:
                kept += [words[at:i], _HIDDEN]
            at = i + size
    return "".join(kept) + words[at:]


def _without(words: str, text: bytes) -> str:
    """`words`, which is clean, without a quotation of `text`."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return words
    if type(value) is not str:
        return words
    # most texts are told by their beginning: a call may have thousands, and long ones
    beginning = _flat(value[: 2 * _ECHO_HEAD])[:_ECHO_HEAD]
    if len(beginning) < _ECHO_MIN or beginning not in words:
        return words
    whole = _flat(value[:_LOOKED_AT])
    if whole in words:
        return words.replace(whole, "[text]")
    return words[: words.index(beginning)] + "[text]" if len(whole) > _ECHO_HEAD else words


def _flat(text: str) -> str:
    return " ".join("".join([c if c.isprintable() else " " for c in text]).split())
