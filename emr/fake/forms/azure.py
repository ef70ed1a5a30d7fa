"""Azure OpenAI's `POST /openai/deployments/{deployment}/embeddings?api-version=…`.

OpenAI's bodies at a path with the name of a deployment, which decides and not the body's `model`;
the key in `api-key`, or a token as Bearer. A request without `api-version` finds nothing. The fake
has a deployment of each model, by the model's name. `x-ratelimit-limit-*` come as -1, as they have
been recorded. Sources: Microsoft's reference of the service, the Python SDK (lib/azure.py), and
errors recorded in bug reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from emr.fake.forms.form import Asked, Caps, Field, LimitState, Route
from emr.fake.forms.openai import FIELDS, INVALID, OpenAI
from emr.fake.forms.openai import WORDS as OPENAI_WORDS
from emr.fake.forms.words import Complain, Complaint, Headers, Words

RATE = (
    "Requests to the Embeddings_Create Operation under Azure OpenAI API version 2024-10-21 have "
    "exceeded {what} rate limit of your current OpenAI S0 pricing tier. Please retry after {wait}. "
    "Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the "
    "default rate limit."
)
RATE_VAGUE = "Too many requests to the Embeddings_Create Operation. Please try again later."


def rate(what: str) -> Words:
    """The words of a 429 for calls or tokens."""
    return Words(429, RATE.replace("{what}", what), None, "429", vague=RATE_VAGUE)


WORDS: Mapping[Complaint, Words] = {
    **OPENAI_WORDS,
    Complaint.NO_KEY: Words(
        401,
        "Access denied due to missing subscription key. Make sure to include subscription key "
        "when making requests to an API.",
        None,
        "401",
    ),
    Complaint.BAD_KEY: Words(
        401,
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
        "provide a valid key for an active subscription and use a correct regional API endpoint "
        "for your resource.",
        None,
        "401",
    ),
    Complaint.FORBIDDEN: Words(
        403, "Access denied due to Virtual Network/Firewall rules.", None, "AccessDenied"
    ),
    Complaint.NO_ROUTE: Words(404, "Resource not found", None, "404"),
    Complaint.UNKNOWN_MODEL: Words(
        404,
        "The API deployment for this resource does not exist. If you created the deployment "
        "within the last 5 minutes, please wait a moment and try again.",
        None,
        "DeploymentNotFound",
    ),
    Complaint.TOO_MANY_TEXTS: Words(
        400,
        "Too many inputs. The max number of inputs is {most}.  We hope to increase the number of "
        "inputs per request soon. Please contact us through an Azure support request at: "
        "https://go.microsoft.com/fwlink/?linkid=2213926 for further questions.",
        INVALID,
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400,
        "This model's maximum context length is {most} tokens, however you requested {got} tokens "
        "({got} in your prompt; 0 for the completion). Please reduce your prompt; or completion "
        "length.",
        INVALID,
    ),
    Complaint.RATE_CALLS: rate("call"),
    Complaint.RATE_TOKENS: rate("token"),
    Complaint.RATE_ITEMS: rate("call"),
    Complaint.QUOTA: Words(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
}


class Azure(OpenAI):
    """Deployments of OpenAI's models."""

    name = "azure"
    routes = {"/openai/deployments/{model}/embeddings": "embeddings"}
    fields = FIELDS | {"model": Field((str,))}
    words = WORDS

    def key(self, headers: Mapping[bytes, bytes]) -> str | None:
        given = headers.get(b"api-key", b"").strip()
        return given.decode("latin-1") if given else super().key(headers)

    def read(self, route: Route, body: dict[str, Any], caps: Caps) -> Asked:
        if caps.strict and not parse_qs(route.query).get("api-version"):
            raise Complain(Complaint.NO_ROUTE, path="")
        return super().read(route, body, caps)

    def limit_headers(self, limits: Mapping[str, LimitState]) -> Headers:
        headers: Headers = []
        for name, state in limits.items():
            end = name.encode()
            headers.append((b"x-ratelimit-limit-" + end, b"-1"))
            headers.append((b"x-ratelimit-remaining-" + end, b"%d" % state.left))
        return headers
