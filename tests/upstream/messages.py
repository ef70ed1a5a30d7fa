"""What providers say when they refuse, word for word, and the verdict that each must lead to.

A row: a name, the status, the body, and what the verdict says beside status and message.
"""

from __future__ import annotations

from typing import Any

import orjson

from emr.lane.verdict import Dimension, Ending, Limits

NOW = 1_700_000_000.0

VOYAGE_TOKENS = (
    "Request to model 'voyage-4-large' failed. The max allowed tokens per submitted batch is "
    "120000. Your batch has 126899 tokens after truncation. Please lower the number of tokens in "
    "the batch."
)
VOYAGE_UNPAID = (
    "You have not yet added your payment method in the billing page and will have reduced rate "
    "limits of 3 RPM and 10K TPM. To unlock our standard rate limits, please add a payment method."
)
OPENAI_RATE = (
    "Rate limit reached for text-embedding-3-small in organization org-x on tokens per min (TPM): "
    "Limit 40000, Used 39000, Requested 2000. Please try again in 1.5s."
)
GEMINI_RATE = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [
                    {"quotaId": "BatchEmbedContentsRequestsPerMinutePerProjectPerRegion"}
                ],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"},
        ],
    }
}


def gemini_day() -> dict[str, Any]:
    value: dict[str, Any] = orjson.loads(orjson.dumps(GEMINI_RATE))
    value["error"]["details"][0]["violations"][0]["quotaId"] = (
        "EmbedContentRequestsPerDayPerProject"
    )
    return value


def openai(message: str, type_: str = "invalid_request_error", code: str | None = None) -> Any:
    return {"error": {"message": message, "type": type_, "param": None, "code": code}}


# name, status, body, what the verdict must say beside status and message
SAID: list[tuple[str, int, Any, dict[str, Any]]] = [
    # Voyage
    ("voyage tokens", 400,
     {"detail": VOYAGE_TOKENS, "error_code": "TOO_MANY_TOKENS_IN_BATCH"},
     {"ending": Ending.SIZE_TOKENS, "cap": 120000, "got": 126899}),
    ("voyage tokens without a code", 400, {"detail": VOYAGE_TOKENS},
     {"ending": Ending.SIZE_TOKENS, "cap": 120000, "got": 126899}),
    ("voyage tokens, the code alone", 400,
     {"detail": "Too large.", "error_code": "TOO_MANY_TOKENS_IN_BATCH"},
     {"ending": Ending.SIZE_TOKENS}),
    ("voyage without a payment method", 429, {"detail": VOYAGE_UNPAID},
     {"ending": Ending.RATE, "limits": Limits(calls=3.0, tokens=10_000.0)}),
    ("voyage key", 401, {"detail": "Provided API key is invalid."}, {"ending": Ending.AUTH}),
    ("voyage address", 403, {"detail": "Forbidden"}, {"ending": Ending.AUTH}),
    ("voyage empty text", 400,
     {"detail": "Error for argument 'query': Value error, Cannot be empty list or empty string"},
     {"ending": Ending.BAD_TEXT}),
    ("voyage dimensions", 400, {"detail": "Argument 'dimensions' is not supported by our API"},
     {"ending": Ending.BAD_REQUEST}),
    ("voyage long text", 400,
     {"detail": "The example at index 3 in your batch has too many tokens and does not fit into "
                "the model's context window of 32000 tokens."},
     {"ending": Ending.BAD_TEXT, "index": 3}),
    ("voyage down", 502, {"detail": "Bad gateway"}, {"ending": Ending.TRANSIENT}),
    ("voyage under load", 503, {"detail": "Service unavailable"}, {"ending": Ending.OVERLOAD}),
    # Cohere
    ("cohere texts", 400,
     {"id": "x", "message":
      "invalid request: total number of texts must be at most 96 - received 104"},
     {"ending": Ending.SIZE_ITEMS, "cap": 96, "got": 104}),
    ("cohere empty text", 400,
     {"message":
      "invalid request: inputs contains an element that is the empty string at index 0"},
     {"ending": Ending.BAD_TEXT, "index": 0}),
    ("cohere input_type", 400,
     {"message": "invalid request: valid input_type must be provided with the provided model"},
     {"ending": Ending.BAD_REQUEST}),
    ("cohere embedding_types", 400, {"message": "embedding_types parameter is required"},
     {"ending": Ending.BAD_REQUEST}),
    ("cohere a minute", 429,
     {"message":
      "You are past the per minute request limit, please wait and try again later."},
     {"ending": Ending.RATE, "dimension": Dimension.CALLS}),
    ("cohere trial a minute", 429,
     {"message": "You are using a Trial key, which is limited to 40 API calls / minute. You can "
                 "continue to use the Trial key for free or upgrade to a Production key."},
     {"ending": Ending.RATE, "dimension": Dimension.CALLS, "limits": Limits(calls=40.0)}),
    ("cohere trial tokens", 429,
     {"message": "trial token rate limit exceeded, limit is 100000 tokens per minute"},
     {"ending": Ending.RATE, "dimension": Dimension.TOKENS, "limits": Limits(tokens=100_000.0)}),
    ("cohere trial a month", 429,
     {"message": "You are using a Trial key, which is limited to 1000 API calls / month."},
     {"ending": Ending.QUOTA}),
    ("cohere billing", 402, {"message": "please add a payment method"}, {"ending": Ending.QUOTA}),
    ("cohere model", 404, {"message": "model 'embed-v9' not found"},
     {"ending": Ending.BAD_REQUEST}),
    ("cohere listed word", 498, {"message": "invalid token"}, {"ending": Ending.BAD_TEXT}),
    ("cohere cancelled", 499, {"message": "request cancelled"}, {"ending": Ending.TRANSIENT}),
    ("cohere not there", 501, {"message": "not implemented"}, {"ending": Ending.BAD_REQUEST}),
    # OpenAI
    ("openai tokens", 400,
     openai("Requested 416735 tokens, max 300000 tokens per request",
            "max_tokens_per_request", "max_tokens_per_request"),
     {"ending": Ending.SIZE_TOKENS, "cap": 300000, "got": 416735}),
    ("openai empty text", 400,
     openai("'$.input' is invalid. Please check the API reference: https://example.com"),
     {"ending": Ending.BAD_TEXT}),
    ("openai context", 400,
     openai("This model's maximum context length is 8192 tokens, however you requested 9000"),
     {"ending": Ending.BAD_TEXT}),
    ("openai long text with its place", 400,
     openai("Invalid 'input[22]': maximum input length is 8192 tokens"),
     {"ending": Ending.BAD_TEXT, "index": 22}),
    ("openai empty string", 400, openai("input cannot be an empty string"),
     {"ending": Ending.BAD_TEXT}),
    ("openai texts", 400,
     openai("Invalid 'input': array too long. Expected an array with maximum length 2048, but got "
            "an array with length 2050 instead.", code="array_above_max_length"),
     {"ending": Ending.SIZE_ITEMS, "cap": 2048, "got": 2050}),
    ("openai key", 401,
     openai("Incorrect API key provided: sk-abcd********wxyz.", code="invalid_api_key"),
     {"ending": Ending.AUTH}),
    ("openai region", 403, openai("Country, region, or territory not supported"),
     {"ending": Ending.AUTH}),
    ("openai model", 404,
     openai("The model `x` does not exist or you do not have access to it.",
            code="model_not_found"),
     {"ending": Ending.BAD_REQUEST}),
    ("openai rate", 429, openai(OPENAI_RATE, "tokens", "rate_limit_exceeded"),
     {"ending": Ending.RATE, "dimension": Dimension.TOKENS, "limits": Limits(tokens=40_000.0),
      "retry_after": 1.5}),
    ("openai rate in 20s", 429,
     openai("Rate limit reached for text-embedding-ada-002 on tokens per min (TPM): Limit 1000000, "
            "Used 999999, Requested 10. Please try again in 20s"),
     {"ending": Ending.RATE, "dimension": Dimension.TOKENS, "limits": Limits(tokens=1e6),
      "retry_after": 20.0}),
    ("openai calls", 429,
     openai("Rate limit reached on requests per min (RPM): Limit 3, Used 3, Requested 1."),
     {"ending": Ending.RATE, "dimension": Dimension.CALLS, "limits": Limits(calls=3.0)}),
    ("openai calls a day", 429,
     openai("Rate limit reached on requests per day (RPD): Limit 200, Used 200, Requested 1."),
     {"ending": Ending.QUOTA}),
    ("openai one call over the minute", 429,
     openai("Request too large for text-embedding-3-small on tokens per min (TPM): Limit 40000, "
            "Requested 50000."),
     {"ending": Ending.SIZE_TOKENS, "cap": 40000, "got": 50000}),
    ("openai quota", 429,
     openai("You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota", "insufficient_quota"),
     {"ending": Ending.QUOTA}),
    ("openai broken", 500, openai("The server had an error", "server_error"),
     {"ending": Ending.TRANSIENT}),
    ("openai slow down", 503, openai("Slow Down", "server_error"), {"ending": Ending.OVERLOAD}),
    # Mistral
    ("mistral texts", 400,
     {"object": "error", "message": "Too many inputs in request, split into more batches.",
      "type": "invalid_request_error", "code": "3210"},
     {"ending": Ending.SIZE_ITEMS}),
    ("mistral texts by a number", 400, {"message": "Split it.", "code": 3210},
     {"ending": Ending.SIZE_ITEMS}),
    ("mistral tokens", 400, {"message": "Too many tokens in batch. Max is 16384 got 17555"},
     {"ending": Ending.SIZE_TOKENS, "cap": 16384, "got": 17555}),
    ("mistral tokens overall", 400,
     {"message": "Too many tokens overall, split into more batches."},
     {"ending": Ending.SIZE_TOKENS}),
    ("mistral rate", 429, {"message": "Requests rate limit exceeded"},
     {"ending": Ending.RATE, "dimension": Dimension.CALLS}),
    ("mistral capacity", 429,
     {"message": "Service tier capacity exceeded for this model.", "code": "3505"},
     {"ending": Ending.OVERLOAD}),
    ("mistral fastapi", 422,
     {"object": "error", "message": {"detail": [
         {"type": "missing", "loc": ["body", "model"], "msg": "Field required", "input": {}}]}},
     {"ending": Ending.BAD_TEXT}),
    # Jina
    ("jina texts", 422, {"detail": "Each input list can contain at most 512 items"},
     {"ending": Ending.SIZE_ITEMS, "cap": 512}),
    ("jina texts, older", 400,
     {"detail": "input length is larger than the largest allowed size 2048"},
     {"ending": Ending.SIZE_ITEMS, "cap": 2048}),
    ("jina balance", 403, {"detail": "Insufficient account balance, please recharge."},
     {"ending": Ending.QUOTA}),
    ("jina balance, paid", 402, {"detail": "x"}, {"ending": Ending.QUOTA}),
    # Gemini
    ("gemini texts", 400,
     {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message":
                "* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch"}},
     {"ending": Ending.SIZE_ITEMS, "cap": 100}),
    ("gemini rate", 429, GEMINI_RATE,
     {"ending": Ending.RATE, "dimension": Dimension.CALLS, "retry_after": 34.0}),
    ("gemini rate in a list", 429, [GEMINI_RATE],
     {"ending": Ending.RATE, "dimension": Dimension.CALLS, "retry_after": 34.0}),
    ("gemini day", 429, gemini_day(), {"ending": Ending.QUOTA, "retry_after": 34.0}),
    ("gemini key", 400,
     {"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                "status": "INVALID_ARGUMENT"}},
     {"ending": Ending.AUTH}),
    ("voyage texts", 400,
     {"detail": "The batch size limit is 1000. Your batch size is 1001."},
     {"ending": Ending.SIZE_ITEMS, "cap": 1000, "got": 1001}),
    # TEI, Infinity, Ollama, vLLM and other servers
    ("tei texts", 422,
     {"error": "batch size 64 > maximum allowed batch size 32", "error_type": "Validation"},
     {"ending": Ending.SIZE_ITEMS, "cap": 32, "got": 64}),
    ("tei texts, older", 413,
     {"error": "batch size 64 > maximum allowed batch size 32", "error_type": "Validation"},
     {"ending": Ending.SIZE_ITEMS, "cap": 32, "got": 64}),
    ("tei bytes", 413, b"Failed to buffer the request body: length limit exceeded",
     {"ending": Ending.SIZE_BYTES}),
    ("tei overload", 429, {"error": "Model is overloaded", "error_type": "overloaded"},
     {"ending": Ending.OVERLOAD}),
    ("tei overload, the code alone", 429, {"message": "try later", "type": "overloaded"},
     {"ending": Ending.OVERLOAD}),
    ("tei tokenization", 422, {"error": "Tokenization error", "error_type": "Tokenizer"},
     {"ending": Ending.BAD_TEXT}),
    ("tei long text", 413,
     {"error": "Input validation error: `inputs` must have less than 512 tokens. Given: 600",
      "error_type": "Validation"},
     {"ending": Ending.BAD_TEXT}),
    ("tei empty", 400, {"error": "`inputs` cannot be empty", "error_type": "Empty"},
     {"ending": Ending.BAD_TEXT}),
    ("tei backend", 424, {"error": "x", "error_type": "Backend"}, {"ending": Ending.TRANSIENT}),
    ("tei unhealthy", 503, {"error": "x", "error_type": "Unhealthy"},
     {"ending": Ending.TRANSIENT}),
    ("infinity overload", 429,
     openai("model michaelfeil/bge-small-en-v1.5 is currently overloaded"),
     {"ending": Ending.OVERLOAD}),
    ("infinity texts", 422,
     {"detail": [{"type": "too_long", "loc": ["body", "input"], "input": ["a text"],
                  "msg": "List should have at most 2048 items after validation, not 2050"}]},
     {"ending": Ending.SIZE_ITEMS, "cap": 2048, "got": 2050}),
    ("infinity one text", 422,
     {"detail": [{"type": "string_too_long", "loc": ["body", "input", 7], "input": "a text",
                  "msg": "String should have at most 122880 characters"}]},
     {"ending": Ending.BAD_TEXT, "index": 7}),
    ("ollama long text", 400, {"error": "the input length exceeds the context length"},
     {"ending": Ending.BAD_TEXT}),
    ("ollama busy", 503, {"error": "server busy, please try again. maximum pending requests"},
     {"ending": Ending.OVERLOAD}),
    ("ollama model", 404, {"error": 'model "x" not found, try pulling it first'},
     {"ending": Ending.BAD_REQUEST}),
    ("ollama ids", 400, {"error": "invalid input type"}, {"ending": Ending.BAD_REQUEST}),
    ("vllm long text", 400,
     {"object": "error", "message": "This model's maximum context length is 512 tokens.",
      "type": "BadRequestError", "code": 400},
     {"ending": Ending.BAD_TEXT}),
    ("dashscope texts", 400,
     openai("<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, it "
            "should not be larger than 10.: input.contents"),
     {"ending": Ending.SIZE_ITEMS, "cap": 10}),
    ("azure calls", 429,
     openai("Requests to the Embeddings_Create Operation have exceeded call rate limit of your "
            "current OpenAI S0 pricing tier. Please retry after 2 seconds.", code="429"),
     {"ending": Ending.RATE, "dimension": Dimension.CALLS, "retry_after": 2.0}),
    ("azure tokens", 429,
     openai("Requests to the Embeddings_Create Operation have exceeded token rate limit of your "
            "current OpenAI S0 pricing tier. Please retry after 59 seconds.", code="429"),
     {"ending": Ending.RATE, "dimension": Dimension.TOKENS, "retry_after": 59.0}),
    # no words that are known
    ("an unknown 400", 400, {"message": "no"}, {"ending": Ending.BAD_TEXT}),
    ("an unknown 422", 422, {"message": "no"}, {"ending": Ending.BAD_TEXT}),
    ("an unknown 429", 429, {"message": "no"}, {"ending": Ending.RATE}),
    ("an unknown 413", 413, b"", {"ending": Ending.SIZE_BYTES}),
    ("size words in a 500", 500, {"message": "must be at most 96 texts"},
     {"ending": Ending.TRANSIENT}),
]  # fmt: skip
