"""LiteLLM's proxy, from its wheel, with one model and no database."""

from __future__ import annotations

from tests.bench.peers.peer import KEY, Peer, Place

CONFIG = """\
model_list:
  - model_name: voyage-code-3
    litellm_params:
      model: openai/voyage-code-3
      api_base: {url}
      api_key: {key}
general_settings:
  master_key: {key}
litellm_settings:
  telemetry: false
"""


class LiteLLM(Peer):
    """LiteLLM 1.80.0, one worker."""

    name = "litellm"
    packages = ("litellm[proxy]==1.80.0",)
    callers_max = 64  # at 15 ms a request, 1,000 callers would wait 15 s for every answer
    texts_max = 32
    rounds_max = 1
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}

    def command(self, place: Place) -> list[str]:
        config = place.write("litellm.yaml", CONFIG.format(url=place.provider_url, key=KEY))
        program = [str(self.python(place.venvs).with_name("litellm")), "--config", str(config)]
        return [*program, "--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1"]
