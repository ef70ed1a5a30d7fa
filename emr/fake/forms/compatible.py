"""A server that speaks like OpenAI's and is narrower: what stands behind `openai-compatible`.

It refuses more than ten texts in the words of Alibaba's service, an explicit null as DeepInfra
does, and it answers numbers when asked for base64, as many such servers do. A key is not needed,
unless there is one. Sources: reports of users (the words, the nulls, the ignored encoding).
"""

from __future__ import annotations

from collections.abc import Mapping

from emr.fake.forms.form import Model
from emr.fake.forms.openai import INVALID, OpenAI
from emr.fake.forms.openai import WORDS as OPENAI_WORDS
from emr.fake.forms.words import Complaint, Words

MODELS: Mapping[str, Model] = {
    "text-embedding-v4": Model((1024, 64, 128, 256, 512, 768, 1536, 2048), 8192),
    "bge-m3": Model((1024,), 8192),
}
WORDS: Mapping[Complaint, Words] = {
    **OPENAI_WORDS,
    Complaint.BAD_KEY: Words(401, "Incorrect API key provided.", INVALID, "invalid_api_key"),
    Complaint.FORBIDDEN: Words(403, "Access denied.", "access_denied", "access_denied"),
    Complaint.TOO_MANY_TEXTS: Words(
        400,
        "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it should "
        "not be larger than {most}.: input.contents",
        "InvalidParameter",
        "InvalidParameter",
    ),
    Complaint.TEXT_TOO_LONG: Words(
        400,
        "This model's maximum context length is {most} tokens, however you requested {got}",
        INVALID,
    ),
    Complaint.QUOTA: Words(402, "Payment required.", INVALID),
    Complaint.OVERLOADED: Words(429, "The model is overloaded.", INVALID),
}


class Compatible(OpenAI):
    """Any server with OpenAI's form."""

    name = "openai-compatible"
    needs_key = False
    max_texts = 10
    models = MODELS
    words = WORDS
    tells_limits = False
    tells_retry = False
    honours_base64 = False
