"""Azure OpenAI: OpenAI's bodies at a path with the deployment's name, and the key in `api-key`.

`POST {endpoint}/openai/deployments/{deployment}/embeddings?api-version=…`. The deployment is what
emr calls the model. An endpoint with an `api-version` keeps it; without one it gets API_VERSION.
Sources: openai-python (lib/azure.py), Microsoft's reference of the service.
"""

from __future__ import annotations

from emr.lane.ticket import Params
from emr.upstream.dialects.openai import OpenAI
from emr.upstream.endpoint import Endpoint

API_VERSION = "2024-10-21"  # the latest that is generally available and has no date of its end


class Azure(OpenAI):
    """A deployment of one of OpenAI's models, with its vocabulary."""

    name = "azure"

    def headers(self, credential: str) -> list[tuple[str, str]]:
        """See Dialect."""
        return [("api-key", credential)] if credential else []

    def target(self, endpoint: Endpoint, params: Params) -> str:
        """See Dialect."""
        target = super().target(endpoint, params)
        if "api-version=" in endpoint.query:
            return target
        return f"{target}{'&' if endpoint.query else '?'}api-version={API_VERSION}"
