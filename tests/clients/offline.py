"""What keeps the clients from the network: some of them fetch data, or tell their makers of a run.

`stay` is called before any of them is imported. A client that counts tokens before it asks gets a
vocabulary of its own provider's name; which one is of no matter, for it only decides how many texts
go into a request.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

_REVISION = "0" * 40
_VOCABULARY = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"},
}  # fmt: skip


def stay() -> None:
    """Set what the clients look at, for this process and those that it starts."""
    folder = tempfile.mkdtemp(prefix="emr-clients-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ |= {
        "HAYSTACK_TELEMETRY_ENABLED": "False",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "HF_HOME": folder,
        "HF_HUB_OFFLINE": "1",
    }


def put_vocabulary(name: str) -> None:
    """Let the hub's client find a vocabulary of this name, as if it had been fetched before."""
    folder = Path(os.environ["HF_HOME"]) / "hub" / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / _REVISION
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / "tokenizer.json").write_text(json.dumps(_VOCABULARY))
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text(_REVISION)
