"""Strict fake providers for the conformance test: they refuse what the real ones refuse.

A form knows the fields that its provider takes, checks every request by them, and answers vectors
that are a function of the text, so that a test can tell whose vector it got. `fault` breaks the
next answers in the way that it names.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import Any

from tests.support.peer import Guest

KEY = "right-key-0123456789"
FAULTS = (
    "short", "long", "shuffle", "duplicate", "nan", "infinite", "huge", "null", "wrong dimensions",
    "uneven", "empty vector", "garbage", "truncated", "no vectors", "error with 200",
)  # fmt: skip

Json = dict[str, Any]


class Refuse(Exception):
    """The provider's error: status and body."""

    def __init__(self, status: int, body: Json, headers: list[tuple[str, str]] | None = None):
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or []


def vector_of(text: Any, dimensions: int, dtype: str = "float") -> list[float]:
    """The vector of a text (or list of token ids): exact as float32 and in decimal."""
    seed = json.dumps(text).encode()
    raw = b""
    while len(raw) < dimensions:
        raw += hashlib.sha256(seed + b"%d" % len(raw)).digest()
    if dtype in ("uint8", "ubinary"):
        return list(raw[:dimensions])
    if dtype in ("int8", "binary"):
        return [byte - 128 for byte in raw[:dimensions]]
    return [(byte - 128) / 256 for byte in raw[:dimensions]]


def base64_of(vector: list[float], dtype: str = "float") -> str:
    """As the providers encode it."""
    code = {"float": "f", "int8": "b", "binary": "b"}.get(dtype, "B")
    return base64.b64encode(struct.pack(f"<{len(vector)}{code}", *vector)).decode()


class Form:
    """One provider's API."""

    name = "provider"
    kind = ""
    path = "/v1/embeddings"
    url_path: str | None = None  # what the operator writes, when it is not the path
    key_of_texts = "input"
    fields: frozenset[str] = frozenset()
    has_index = True
    names_cap = True  # its error for too many texts says how many it takes
    bills = True  # its replies count tokens
    max_texts = 128
    default_dimensions = 8
    dimensions_field: str | None = None
    sizes: tuple[int, ...] = (4, 8, 16)

    def __init__(self) -> None:
        self.fault: str | None = None
        self.refusal: Refuse | None = None
        self.requests: list[Json] = []
        self.bodies: list[bytes] = []
        self.heads: list[tuple[str, dict[str, str]]] = []

    async def script(self, guest: Guest) -> None:
        """Serve a connection."""
        while (request := await guest.request()) is not None:
            head, body = request
            headers = {n.decode(): v.decode() for n, v in head.headers}
            self.heads.append((bytes(head.target).decode(), headers))
            self.bodies.append(body)
            try:
                answer = json.dumps(self._handle(bytes(head.target).decode(), headers, body))
                status, more = 200, []
            except Refuse as refuse:
                answer, status, more = json.dumps(refuse.body), refuse.status, refuse.headers
            if self.fault == "garbage":
                answer = "<html>It works!</html>"
            if self.fault == "truncated":
                answer = answer[: len(answer) * 2 // 3]
            await guest.answer(answer.encode(), status, more)

    def _handle(self, target: str, headers: dict[str, str], body: bytes) -> Json:
        if target != self.path:
            raise self.error(404, "no such route")
        given = self.key_in(headers)
        if given != KEY:
            raise self.error(401, f"Incorrect API key provided: {given}.")
        if headers.get("content-type") != "application/json":
            raise self.error(415, "not JSON")
        if self.refusal is not None:
            raise self.refusal
        value: Json = json.loads(body)
        self.requests.append(value)
        unknown = set(value) - self.fields
        if unknown:
            raise self.error(400, f"Argument '{min(unknown)}' is not supported by our API")
        if any(v is None for v in value.values()):
            raise self.error(400, "a null")
        texts = self.texts(value)
        self.check(value, texts)
        if len(texts) > self.max_texts:
            raise self.too_many(len(texts))
        if self.fault == "error with 200":
            return {"error": {"message": "Requests rate limit exceeded", "code": 429}}
        return self.answer(value, texts)

    def dimensions(self, value: Json) -> int:
        """What the request asks for, checked."""
        asked = value.get(self.dimensions_field or "", self.default_dimensions)
        if type(asked) is not int or asked not in self.sizes:
            raise self.error(400, f"the dimensions must be one of {self.sizes}")
        return asked

    def vectors(self, texts: list[Any], dimensions: int, dtype: str) -> list[list[Any]]:
        """The vectors, broken in the way that `fault` says."""
        fault = self.fault
        length = dimensions // 8 if dtype in ("binary", "ubinary") else dimensions
        length += fault == "wrong dimensions"
        vectors: list[list[Any]] = [vector_of(text, length, dtype) for text in texts]
        odd = {"nan": float("nan"), "infinite": float("inf"), "huge": 1e39, "null": None}
        if fault in odd:
            vectors[-1][-1] = odd[fault]
        if fault == "uneven":
            vectors[-1].pop()
        if fault == "empty vector":
            vectors[-1] = []
        if fault == "short":
            vectors.pop()
        if fault == "long":
            vectors.append(vectors[0])
        return vectors

    def key_in(self, headers: dict[str, str]) -> str:
        """The key that the request has."""
        return headers.get("authorization", "").removeprefix("Bearer ")

    def texts(self, value: Json) -> list[Any]:
        """The texts of the request."""
        texts: list[Any] = value[self.key_of_texts]
        return texts

    # what a form must say

    def check(self, value: Json, texts: list[Any]) -> None:
        """Refuse wrong values."""
        raise AssertionError("a form of the provider's own")

    def answer(self, value: Json, texts: list[Any]) -> Json:
        """The reply."""
        raise AssertionError("a form of the provider's own")

    def error(self, status: int, message: str) -> Refuse:
        """An error in the provider's form."""
        raise AssertionError("a form of the provider's own")

    def too_many(self, count: int) -> Refuse:
        """More texts than it takes."""
        raise AssertionError("a form of the provider's own")


class OpenAIForm(Form):
    """OpenAI, strict about its fields."""

    name = "openai"
    kind = "openai"
    fields = frozenset({"input", "model", "dimensions", "encoding_format", "user"})
    max_texts = 2048
    dimensions_field = "dimensions"
    honours_base64 = True
    billed = ("prompt_tokens", "total_tokens")

    def check(self, value: Json, texts: list[Any]) -> None:
        if value.get("encoding_format", "float") not in ("float", "base64"):
            raise self.error(400, "encoding_format must be float or base64")
        if "user" in value and type(value["user"]) is not str:
            raise self.error(400, "user must be a string")
        if "" in texts:
            raise self.error(400, "'$.input' is invalid. Please check the API reference")

    def dtype(self, value: Json) -> str:
        return "float"

    def answer(self, value: Json, texts: list[Any]) -> Json:
        dtype = self.dtype(value)
        vectors: list[Any] = self.vectors(texts, self.dimensions(value), dtype)
        if value.get("encoding_format") == "base64" and self.honours_base64:
            vectors = [v if None in v else base64_of(_fitting(v, dtype), dtype) for v in vectors]
        entries = [
            {"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)
        ]
        if self.fault == "shuffle":
            entries = entries[::-1]
        if self.fault == "duplicate":
            entries[-1]["index"] = 0
        tokens = sum(len(str(text)) for text in texts)
        reply: Json = {"object": "list", "data": entries, "model": value["model"]}
        if self.fault == "no vectors":
            del reply["data"]
        return {**reply, "usage": dict.fromkeys(self.billed, tokens)}

    def error(self, status: int, message: str) -> Refuse:
        return Refuse(status, {"error": {"message": message, "type": "x", "code": None}})

    def too_many(self, count: int) -> Refuse:
        return self.error(
            400,
            f"Invalid 'input': array too long. Expected an array with maximum length "
            f"{self.max_texts}, but got an array with length {count} instead.",
        )


class CompatibleForm(OpenAIForm):
    """A server that speaks like OpenAI's, but answers numbers whatever it is asked for."""

    name = "openai-compatible"
    kind = "openai-compatible"
    max_texts = 10
    honours_base64 = False

    def too_many(self, count: int) -> Refuse:
        return self.error(
            400, f"batch size is invalid, it should not be larger than {self.max_texts}.: input"
        )


class VoyageForm(OpenAIForm):
    """Voyage: other names, `float` is no encoding, only a total is billed."""

    name = "voyage"
    kind = "voyage"
    fields = frozenset(
        {"input", "model", "input_type", "truncation", "output_dimension", "output_dtype",
         "encoding_format"}
    )  # fmt: skip
    max_texts = 1000
    dimensions_field = "output_dimension"
    billed = ("total_tokens",)

    def check(self, value: Json, texts: list[Any]) -> None:
        if value.get("encoding_format", "base64") != "base64":
            raise self.error(400, "Value 'float' is not valid for encoding_format")
        if value.get("input_type", "query") not in ("query", "document"):
            raise self.error(400, "input_type must be query, document or null")
        if type(value.get("truncation", True)) is not bool:
            raise self.error(400, "truncation must be a boolean: invalid")
        if not all(type(text) is str and text for text in texts):
            raise self.error(400, "Value error, Cannot be empty list or empty string")

    def dtype(self, value: Json) -> str:
        dtype: str = value.get("output_dtype", "float")
        if dtype not in ("float", "int8", "uint8", "binary", "ubinary"):
            raise self.error(400, "output_dtype is not valid")
        return dtype

    def error(self, status: int, message: str) -> Refuse:
        return Refuse(status, {"detail": message})

    def too_many(self, count: int) -> Refuse:
        return self.error(400, f"List should have at most {self.max_texts} items, not {count}")


class CohereV2Form(Form):
    """Cohere's /v2/embed: everything is required, nothing has an index."""

    name = "cohere v2"
    kind = "cohere"
    path = "/v2/embed"
    key_of_texts = "texts"
    fields = frozenset(
        {"texts", "model", "input_type", "embedding_types", "truncate", "output_dimension"}
    )
    has_index = False
    max_texts = 96
    dimensions_field: str | None = "output_dimension"
    types = ("float", "int8", "uint8", "binary", "ubinary", "base64")

    def check(self, value: Json, texts: list[Any]) -> None:
        if value.get("input_type") not in (
            "search_document", "search_query", "classification", "clustering",
        ):  # fmt: skip
            raise self.error(
                400, "invalid request: valid input_type must be provided with the provided model"
            )
        self.check_types(value)
        if value.get("truncate", "END") not in ("NONE", "START", "END"):
            raise self.error(400, "invalid request: truncate must be NONE, START or END")
        for index, text in enumerate(texts):
            if type(text) is not str:
                raise self.error(400, "invalid type: parameter texts is of type array of string")
            if not text:
                raise self.error(
                    400,
                    "invalid request: inputs contains an element that is the empty string at "
                    f"index {index}",
                )

    def check_types(self, value: Json) -> None:
        types = value.get("embedding_types")
        if not types:
            raise self.error(400, "invalid request: embedding_types parameter is required")
        if not set(types) <= set(self.types):
            raise self.error(400, "invalid request: embedding_types must be of these types")

    def answer(self, value: Json, texts: list[Any]) -> Json:
        by_type: Json = {}
        for type_ in value["embedding_types"]:
            dtype = "float" if type_ == "base64" else type_
            vectors: list[Any] = self.vectors(texts, self.dimensions(value), dtype)
            if type_ == "base64":
                vectors = [v if None in v else base64_of(_fitting(v, dtype)) for v in vectors]
            by_type[type_] = vectors
        if self.fault == "no vectors":
            by_type = {}
        return {**self.rest(texts), "embeddings": by_type, "response_type": "embeddings_by_type"}

    def rest(self, texts: list[Any]) -> Json:
        tokens = sum(len(str(text)) for text in texts)
        return {"id": "x", "texts": texts, "meta": {"billed_units": {"input_tokens": tokens}}}

    def error(self, status: int, message: str) -> Refuse:
        return Refuse(status, {"id": "x", "message": message})

    def too_many(self, count: int) -> Refuse:
        return self.error(
            400,
            f"invalid request: total number of texts must be at most {self.max_texts} - received "
            f"{count}",
        )


class CohereV1Form(CohereV2Form):
    """Cohere's /v1/embed: no dimensions, no base64, a bare list of lists when no type is asked."""

    name = "cohere v1"
    path = "/v1/embed"
    fields = CohereV2Form.fields - {"output_dimension"}
    dimensions_field = None
    types = ("float", "int8", "uint8", "binary", "ubinary")

    def check_types(self, value: Json) -> None:
        if "embedding_types" in value:
            super().check_types(value)

    def answer(self, value: Json, texts: list[Any]) -> Json:
        if "embedding_types" in value:
            return super().answer(value, texts)
        reply = {**self.rest(texts), "response_type": "embeddings_floats"}
        if self.fault != "no vectors":
            reply["embeddings"] = self.vectors(texts, self.default_dimensions, "float")
        return reply


def _fitting(vector: list[Any], dtype: str) -> list[Any]:
    """The numbers as float32 has them: what is too large is infinite there."""
    if dtype != "float":
        return vector
    return [float("inf") if abs(v) > 3.5e38 else v for v in vector]
