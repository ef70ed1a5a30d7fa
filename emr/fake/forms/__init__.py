"""The APIs that the fake speaks: a row for each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from emr.fake.forms.azure import Azure
from emr.fake.forms.cohere import Cohere
from emr.fake.forms.compatible import Compatible
from emr.fake.forms.form import Form, Route
from emr.fake.forms.gemini import Gemini
from emr.fake.forms.infinity import Infinity
from emr.fake.forms.jina import Jina
from emr.fake.forms.mistral import Mistral
from emr.fake.forms.ollama import Ollama
from emr.fake.forms.openai import OpenAI
from emr.fake.forms.router import Router
from emr.fake.forms.tei import TEI
from emr.fake.forms.vllm import VLLM
from emr.fake.forms.voyage import Voyage

FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Voyage(), OpenAI(), Cohere(), Azure(), Mistral(), Jina(), Gemini(), TEI(), Infinity(),
        Ollama(), VLLM(), Compatible(), Router(),
    )
}  # fmt: skip


@lru_cache(maxsize=1024)
def find_route(path: str, default: str) -> tuple[Form, Route] | None:
    """The form and the route of a path: prefixed by the form's name, or bare.

    A bare path that several forms have belongs to `default`.
    """
    for name, form in FORMS.items():
        if path.startswith(f"/{name}/"):
            route = form.route(path.removeprefix(f"/{name}"))
            if route is not None:
                return form, route
    for form in (FORMS[default], *FORMS.values()):
        route = form.route(path)
        if route is not None:
            return form, route
    return None
