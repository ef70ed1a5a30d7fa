"""More strict fake providers, as those of `provider`: the other types that emr speaks to."""

from __future__ import annotations

from typing import Any

from tests.upstream.provider import (
    CohereV1Form,
    CohereV2Form,
    CompatibleForm,
    Form,
    Json,
    OpenAIForm,
    Refuse,
    VoyageForm,
)


class AzureForm(OpenAIForm):
    """Azure: the deployment in the path, the key in a field of its own."""

    name = "azure"
    kind = "azure"
    path = "/openai/deployments/a-model/embeddings?api-version=2024-10-21"
    url_path = ""

    def key_in(self, headers: dict[str, str]) -> str:
        return headers.get("api-key", "")


class MistralForm(VoyageForm):
    """Mistral: Voyage's words for size and type, OpenAI's for the encoding."""

    name = "mistral"
    kind = "mistral"
    fields = frozenset({"input", "model", "output_dimension", "output_dtype", "encoding_format"})
    max_texts = 512
    names_cap = False

    def check(self, value: Json, texts: list[Any]) -> None:
        if value.get("encoding_format") not in ("float", "base64"):
            raise self.error(400, "encoding_format must be float or base64")
        if not all(type(text) is str and text for text in texts):
            raise self.error(400, "a text cannot be empty")

    def error(self, status: int, message: str) -> Refuse:
        return Refuse(status, {"object": "error", "message": message, "type": "x", "code": None})

    def too_many(self, count: int) -> Refuse:
        refuse = self.error(400, "Too many inputs in request, split into more batches.")
        refuse.body["code"] = "3210"
        return refuse


class JinaForm(OpenAIForm):
    """Jina: a task, a type of embedding, and no encoding_format."""

    name = "jina"
    kind = "jina"
    fields = frozenset({"input", "model", "task", "dimensions", "embedding_type", "truncate"})
    max_texts = 512

    def check(self, value: Json, texts: list[Any]) -> None:
        if value.get("embedding_type") not in ("float", "base64", "binary", "ubinary"):
            raise self.error(422, "embedding_type is not valid")
        if value.get("task", "separation") not in (
            "retrieval.query", "retrieval.passage", "separation", "classification",
        ):  # fmt: skip
            raise self.error(422, "task is not valid")
        if type(value.get("truncate", True)) is not bool:
            raise self.error(422, "truncate must be a boolean")
        if not all(type(text) is str and text for text in texts):
            raise self.error(422, "a text cannot be empty")

    def dtype(self, value: Json) -> str:
        type_: str = value["embedding_type"]
        return "float" if type_ == "base64" else type_

    def answer(self, value: Json, texts: list[Any]) -> Json:
        if value["embedding_type"] == "base64":
            value = {**value, "encoding_format": "base64"}
        return super().answer(value, texts)

    def error(self, status: int, message: str) -> Refuse:
        return Refuse(status, {"detail": message})

    def too_many(self, count: int) -> Refuse:
        return self.error(422, f"Each input list can contain at most {self.max_texts} items")


class GeminiForm(Form):
    """Gemini: a request for each text, the model in the path, values without an index."""

    name = "gemini"
    kind = "gemini"
    path = "/v1beta/models/a-model:batchEmbedContents"
    url_path = ""
    fields = frozenset({"requests"})
    has_index = False
    bills = False
    max_texts = 100
    dimensions_field = "outputDimensionality"

    def key_in(self, headers: dict[str, str]) -> str:
        return headers.get("x-goog-api-key", "")

    def texts(self, value: Json) -> list[Any]:
        for request in value["requests"]:
            known = {"model", "content", "taskType", "outputDimensionality"}
            if set(request) - known or request["model"] != "models/a-model":
                raise self.error(400, "Invalid JSON payload received. Unknown name")
            value.update({k: v for k, v in request.items() if k not in ("model", "content")})
        return [request["content"]["parts"][0]["text"] for request in value["requests"]]

    def check(self, value: Json, texts: list[Any]) -> None:
        if value.get("taskType", "RETRIEVAL_QUERY") not in (
            "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "CLUSTERING",
        ):  # fmt: skip
            raise self.error(400, "taskType is not valid")
        if not all(texts):
            raise self.error(400, "content is empty: it cannot be empty")

    def answer(self, value: Json, texts: list[Any]) -> Json:
        if self.fault == "no vectors":
            return {}
        vectors = self.vectors(texts, self.dimensions(value), "float")
        return {"embeddings": [{"values": vector} for vector in vectors]}

    def error(self, status: int, message: str) -> Refuse:
        return Refuse(status, {"error": {"code": status, "message": message, "status": "X"}})

    def too_many(self, count: int) -> Refuse:
        return self.error(
            400,
            f"* BatchEmbedContentsRequest.requests: at most {self.max_texts} requests can be in "
            "one batch",
        )


class OllamaForm(Form):
    """Ollama: a list of lists, numbers only."""

    name = "ollama"
    kind = "ollama"
    path = "/api/embed"
    url_path = ""
    fields = frozenset({"model", "input", "truncate", "dimensions"})
    has_index = False
    max_texts = 64
    dimensions_field = "dimensions"

    def check(self, value: Json, texts: list[Any]) -> None:
        if not all(type(text) is str for text in texts):
            raise self.error(400, "invalid input type")
        if type(value.get("truncate", True)) is not bool:
            raise self.error(400, "truncate must be a boolean")
        if "" in texts:
            raise self.error(400, "input cannot be empty")

    def answer(self, value: Json, texts: list[Any]) -> Json:
        if self.fault == "no vectors":
            return {"model": value["model"]}
        vectors = self.vectors(texts, self.dimensions(value), "float")
        tokens = sum(len(text) for text in texts)
        return {"model": value["model"], "embeddings": vectors, "prompt_eval_count": tokens}

    def error(self, status: int, message: str) -> Refuse:
        return Refuse(status, {"error": message})

    def too_many(self, count: int) -> Refuse:
        return self.error(400, f"batch size is invalid, it should be at most {self.max_texts}")


class TEIForm(CompatibleForm):
    """Text Embeddings Inference: its errors have nothing around them."""

    name = "tei"
    kind = "tei"
    max_texts = 32
    honours_base64 = True

    def error(self, status: int, message: str) -> Refuse:
        return Refuse(status, {"message": message, "code": status, "type": "x"})

    def too_many(self, count: int) -> Refuse:
        return self.error(422, f"batch size {count} > maximum allowed batch size {self.max_texts}")


class InfinityForm(CompatibleForm):
    """Infinity: at a path of its own, and it counts characters."""

    name = "infinity"
    kind = "infinity"
    path = "/embeddings"
    url_path = ""
    bills = False
    max_texts = 2048
    honours_base64 = True

    def too_many(self, count: int) -> Refuse:
        message = f"List should have at most {self.max_texts} items after validation, not {count}"
        entry = {"type": "too_long", "loc": ["body", "input"], "msg": message, "input": ["x"]}
        return Refuse(422, {"detail": [entry]})


class VLLMForm(CompatibleForm):
    """vLLM."""

    name = "vllm"
    kind = "vllm"
    honours_base64 = True


class EmrForm(VoyageForm):
    """Another emr."""

    name = "emr"
    kind = "emr"
    fields = frozenset(
        {"input", "model", "input_type", "truncation", "dimensions", "output_dtype",
         "encoding_format", "user"}
    )  # fmt: skip
    max_texts = 2048
    dimensions_field = "dimensions"
    billed = ("prompt_tokens", "total_tokens")

    def check(self, value: Json, texts: list[Any]) -> None:
        if value.get("encoding_format") not in ("float", "base64"):
            raise self.error(400, "encoding_format must be float or base64")
        if "" in texts:
            place = texts.index("")
            refuse = self.error(400, "a text cannot be empty")
            refuse.body["error"]["param"] = f"input[{place}]"
            raise refuse

    def error(self, status: int, message: str) -> Refuse:
        body = {"error": {"type": "x", "message": message, "code": None, "param": None}}
        return Refuse(status, {**body, "detail": message, "message": message})

    def too_many(self, count: int) -> Refuse:
        return self.error(400, f"a request has at most {self.max_texts} texts")


FORMS: tuple[type[Form], ...] = (
    OpenAIForm, CompatibleForm, VoyageForm, CohereV2Form, CohereV1Form, AzureForm, MistralForm,
    JinaForm, GeminiForm, OllamaForm, TEIForm, InfinityForm, VLLMForm, EmrForm,
)  # fmt: skip
