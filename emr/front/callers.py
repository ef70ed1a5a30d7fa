"""The routes for callers: every API in which emr is asked for vectors, and the lists of models."""

from __future__ import annotations

from collections.abc import Callable

from emr.front.answer import Means
from emr.front.auth import Scope
from emr.front.batch import EmbeddingsBatch
from emr.front.desk import Desk
from emr.front.forms.cohere import CohereForm
from emr.front.forms.form import Form
from emr.front.forms.ollama import PATH as OLLAMA_PATH
from emr.front.forms.ollama import OllamaForm
from emr.front.forms.openai import AzureForm, OpenAIForm
from emr.front.forms.voyage import VoyageWholeForm
from emr.front.models import Models
from emr.front.offload import Offload
from emr.front.routes import Handler, Route
from emr.front.single import Embeddings

FORMS: dict[str, Form] = {
    "/v1/embeddings": OpenAIForm(),
    "/embeddings": OpenAIForm(),
    "/openai/deployments/{deployment...}/embeddings": AzureForm(),
    "/deployments/{deployment...}/embeddings": AzureForm(),
    "/v1/contextualizedembeddings": VoyageWholeForm("/v1/contextualizedembeddings"),
    "/v1/multimodalembeddings": VoyageWholeForm("/v1/multimodalembeddings"),
    "/v1/embed": CohereForm(1),
    "/v2/embed": CohereForm(2),
    OLLAMA_PATH: OllamaForm(),
}


def caller_routes(desk: Desk, clock: Callable[[], float], offload: Offload) -> list[Route]:
    """The routes of callers. `clock` is the core's, in seconds."""
    means = Means(desk, clock, offload)
    models = Models(desk)
    posts: dict[str, Handler] = {path: Embeddings(form, means) for path, form in FORMS.items()}
    posts["/v1/embeddings/batch"] = EmbeddingsBatch(means)
    gets: dict[str, Handler] = {
        "/v1/models": models.everything,
        "/models": models.everything,
        "/v1/models/{id...}": models.one,
        "/v1/test": models.test,
        "/api/tags": models.ollama_tags,
        "/api/version": models.ollama_version,
    }
    return [
        *[Route(("POST",), path, Scope.KEY, handler) for path, handler in posts.items()],
        *[Route(("GET",), path, Scope.KEY, handler) for path, handler in gets.items()],
    ]
