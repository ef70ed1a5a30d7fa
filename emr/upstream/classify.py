"""From an error reply to a verdict: by what the body says, and by the status only without that.

One status means several things: a 429 is a rate, an empty account or a server out of capacity; a
400 is a size, a text or a parameter. So the words are looked at first, by the rules below, which
are the providers' own messages (their documentation, SDKs and the reports of users). Where no rule
knows the words, the status decides:

    400, 422            BAD_TEXT: the callers of the call are told apart by asking again in halves
    401, 403, 407, 451  AUTH: the credential, the address or the region is refused
    402                 QUOTA
    404, 405, 406, 410  BAD_REQUEST: a model that is not there, or an endpoint that is not one;
    411, 414, 415, 417  the same for every text, and no use to ask again; so too any other 4xx
    426, 428, 431, 501, 505
    408, 409, 421, 424, 425, 499   TRANSIENT
    413                 SIZE_BYTES
    429                 RATE
    498                 BAD_TEXT: a word of the text is on the provider's list (Cohere)
    503, 529            OVERLOAD
    3xx                 TRANSIENT: redirects are never followed, because the key belongs to the
                        configured host; something stands where the provider should be
    any other 5xx       TRANSIENT

Sizes are only believed in a 400, 413, 422 or 429: elsewhere the same words are an accident.
A rule's pattern has named groups: `cap`, `got` and `index` are taken over as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from emr.lane.verdict import Ending, Limits, Verdict
from emr.upstream.limits import Headers, limits_of_words, retry_after_s
from emr.upstream.said import Said, clean, listen, shorten

_MAX_NUMBER = 10**12  # a cap or an index beyond it is none
_LONG = r"per ?day|/ ?day|\bdaily\b|\b[RT]PD\b|per ?month|/ ?month|\bmonthly\b"


@dataclass(frozen=True, slots=True)
class Rule:
    """The first rule whose status, and code or pattern, fit decides the ending.

    `codes` are lower-case codes of the body; with `pattern` as well, the pattern is only asked
    for its numbers. An empty `statuses` fits every error.
    """

    ending: Ending
    statuses: frozenset[int] = frozenset()
    codes: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None


def _rule(ending: Ending, statuses: Sequence[int], pattern: str = "", *codes: str) -> Rule:
    compiled = re.compile(pattern, re.IGNORECASE) if pattern else None
    return Rule(ending, frozenset(statuses), frozenset(codes), compiled)


_CLIENT = (400, 413, 422, 429)
# all repeats are bounded: a provider's words of 4,096 characters take some ms at most
_N = r"(?P<cap>\d[\d,]{0,15})"
_GOT = r"(?P<got>\d[\d,]{0,15})"
_IN = r"(?P<index>\d{1,12})"

RULES: tuple[Rule, ...] = (
    # too many texts
    _rule(
        Ending.SIZE_ITEMS,
        _CLIENT,
        rf"number of texts must be at most {_N}(?: - received {_GOT})?"  # Cohere
        rf"|at most {_N.replace('cap', 'cap2')} (?:requests can be in one batch|items|inputs|texts)"
        rf"(?:.{{0,200}}?, not {_GOT.replace('got', 'got2')})?",  # Gemini, Jina, FastAPI
    ),
    _rule(Ending.SIZE_ITEMS, _CLIENT, rf"largest allowed size:? {_N}"),  # Jina
    _rule(
        Ending.SIZE_ITEMS,
        _CLIENT,
        rf"batch size:? {_GOT} ?> ?maximum allowed batch size:? {_N}",  # TEI
    ),
    _rule(Ending.SIZE_ITEMS, _CLIENT, rf"batch size.{{0,200}}?(?:not be larger than|at most) {_N}"),
    _rule(
        Ending.SIZE_ITEMS, _CLIENT, rf"batch size limit is {_N}(?:.{{0,200}}?batch size is {_GOT})?"
    ),  # Voyage
    _rule(
        Ending.SIZE_ITEMS,
        _CLIENT,
        rf"array too long.{{0,200}}?maximum length {_N}.{{0,200}}?length {_GOT}",  # OpenAI
    ),
    _rule(Ending.SIZE_ITEMS, _CLIENT, rf"texts, and a request may have {_N}"),  # another emr
    _rule(
        Ending.SIZE_ITEMS,
        _CLIENT,
        rf"too many inputs(?:.{{0,20}}max number of inputs is {_N})?",  # Azure, Mistral
    ),
    # too many tokens in the call
    _rule(
        Ending.SIZE_TOKENS,
        _CLIENT,
        rf"tokens per submitted batch is {_N}\.?(?: Your batch has {_GOT})?",  # Voyage
        "too_many_tokens_in_batch",
    ),
    _rule(
        Ending.SIZE_TOKENS,
        _CLIENT,
        rf"requested {_GOT} tokens, max {_N}",  # OpenAI
        "max_tokens_per_request",
    ),
    _rule(Ending.SIZE_TOKENS, _CLIENT, rf"too many tokens in batch\. max is {_N} got {_GOT}"),
    _rule(Ending.SIZE_TOKENS, _CLIENT, r"too many tokens (?:overall|in batch)"),  # Mistral
    _rule(
        Ending.SIZE_TOKENS,
        _CLIENT,
        rf"number of tokens must be at most {_N}(?: - received {_GOT})?"  # as Cohere says of texts
        rf"|token count \(?{_GOT.replace('got', 'got2')}\)? exceeds the maximum number of tokens "
        rf"allowed \(?{_N.replace('cap', 'cap2')}",  # Gemini
    ),
    _rule(Ending.SIZE_ITEMS, _CLIENT, "split into more batches", "3210"),  # Mistral
    # too large a body; a server behind a proxy says it in the proxy's words
    _rule(Ending.SIZE_BYTES, (413,), r"length limit|too large|payload|body"),
    _rule(Ending.SIZE_BYTES, (400,), r"payload size exceeds"),  # Gemini
    _rule(
        Ending.SIZE_TOKENS,
        (429,),
        # OpenAI: one call of a minute
        rf"request too large.{{0,200}}?limit:? {_N}.{{0,200}}?requested:? {_GOT}",
    ),
    # the credential, where the status says something else
    _rule(Ending.AUTH, (400,), r"api[ -_]key (?:is )?(?:not valid|invalid|expired)"),  # Gemini
    # nothing left, whatever the status; Gemini says "exceeded your current quota" for rates too
    _rule(Ending.QUOTA, (402,)),
    _rule(Ending.QUOTA, (429,), _LONG),
    _rule(Ending.RATE, (429,), r"Per(?:Minute|Second)Per"),
    _rule(
        Ending.QUOTA,
        (400, 403, 429),
        r"exceeded your current quota|insufficient \w{0,40} ?(?:balance|quota|funds|credits?)"
        r"|balance (?:is )?(?:empty|exhausted|not enough|too low|insufficient)"
        r"|(?:no|not enough|out of) (?:credits?|balance)|recharge",
        "insufficient_quota",
        "quota_exceeded",  # another emr
        "billing_hard_limit_reached",
    ),
    # out of capacity
    _rule(
        Ending.OVERLOAD,
        (429,),
        r"overloaded|capacity exceeded|server busy|concurrency limit|too many concurrent",
        "3505",  # Mistral
        "rate_concurrency_limit_exceeded",  # Jina
    ),
    _rule(Ending.OVERLOAD, (429,), "", "overloaded"),  # TEI
    _rule(Ending.TRANSIENT, (503,), "", "unhealthy"),  # TEI: its backend is broken
    # the parameters: the same for every text
    _rule(
        Ending.BAD_REQUEST,
        (400, 403, 404, 422),
        r"model.{0,80}(?:does not exist|not found|not supported|is not available|not exist)"
        r"|(?:unknown|invalid|unsupported|no such) model",
        "model_not_found",
    ),
    _rule(
        Ending.BAD_REQUEST,
        (400, 422),
        r"\binput_type\b|\bembedding_types?\b|\boutput_d(?:type|imension)\b|\bencoding_format\b"
        r"|\bdimensions?\b|\btruncat(?:e|ion)\b.{0,40}(?:must|invalid|not supported)"
        r"|invalid input type|unknown (?:name|field|parameter|argument)|extra (?:inputs|fields)"
        r"|unrecogni[sz]ed (?:request )?argument|argument '\w{1,40}' is not supported",
    ),
    # one of the texts
    _rule(
        Ending.BAD_TEXT,
        (400, 413, 422),
        rf"empty string at index {_IN}"  # Cohere
        rf"|'input\[{_IN.replace('index', 'index2')}\]'"  # OpenAI
        rf"|\binput\.{_IN.replace('index', 'index3')}\b"  # FastAPI
        rf"|\b(?:example|text|input|document) (?:at )?(?:index|number) "
        rf"{_IN.replace('index', 'index4')}",  # Voyage
    ),
    _rule(
        Ending.BAD_TEXT,
        (400, 413, 422),
        r"maximum context length|exceeds the context length|maximum input length"
        r"|'\$\.input' is invalid|empty (?:list|string)|cannot be (?:an )?empty|tokeniz"
        r"|must have less than \d{1,12} tokens",
        "tokenizer",
        "empty",
    ),
)

_BY_STATUS: dict[int, Ending] = (
    dict.fromkeys((400, 422, 498), Ending.BAD_TEXT)
    | dict.fromkeys((401, 403, 407, 451), Ending.AUTH)
    | dict.fromkeys((408, 409, 421, 424, 425, 499), Ending.TRANSIENT)
    | dict.fromkeys((501, 505), Ending.BAD_REQUEST)
    | dict.fromkeys((503, 529), Ending.OVERLOAD)
    | {402: Ending.QUOTA, 413: Ending.SIZE_BYTES, 429: Ending.RATE}
)


def classify(
    status: int,
    headers: Headers,
    body: bytes,
    now: float,
    credential: str = "",
    texts: Sequence[bytes] = (),
) -> Verdict:
    """The verdict of an error reply. `now` is the wall clock at its receipt, for dates.

    `credential` and `texts` are the call's: the provider's words are freed of them. Any bytes
    give a verdict; nothing is raised.
    """
    said = listen(body)
    said.words = clean(said.words, credential, texts)
    return _judge(status, said, headers, now)


def classify_misread(
    body: bytes, ending: Ending, why: str, credential: str = "", texts: Sequence[bytes] = ()
) -> Verdict:
    """The verdict of a 200 that has no vectors to give, for the reason `why`.

    Some gateways answer an error with the status 200 and say the true one in the body.
    """
    said = listen(body) if len(body) < 65_536 else Said()
    if said.status is not None and said.words:
        said.words = clean(said.words, credential, texts)
        return _judge(said.status, said, {}, 0.0)
    return Verdict(ending, 200, why)


def _judge(status: int, said: Said, headers: Headers, now: float) -> Verdict:
    """The verdict, from clean words."""
    heard = " ".join([said.words, *_quota_names(said)])
    ending, numbers = _ending(status, heard, said.codes)
    limits: Limits | None = None
    dimension = None
    if ending is Ending.RATE:
        limits, dimension = limits_of_words(heard)
    return Verdict(
        ending,
        status,
        shorten(said.words) or f"status {status}, without words that emr knows",
        retry_after_s(headers, said.details, said.words, now),
        cap=numbers.get("cap"),
        got=numbers.get("got"),
        index=numbers.get("index", said.index) if ending is Ending.BAD_TEXT else None,
        limits=limits,
        dimension=dimension,
    )


def _ending(status: int, heard: str, codes: frozenset[str]) -> tuple[Ending, dict[str, int]]:
    """By the rules, else by the status; and the numbers that the words name."""
    for rule in RULES:
        if rule.statuses and status not in rule.statuses:
            continue
        if not rule.codes and rule.pattern is None:
            return rule.ending, {}
        match = rule.pattern.search(heard) if rule.pattern is not None else None
        if match is not None or rule.codes & codes:
            return rule.ending, _numbers(match)
    if status in _BY_STATUS:
        return _BY_STATUS[status], {}
    if 400 <= status < 500:
        return Ending.BAD_REQUEST, {}
    return Ending.TRANSIENT, {}


def _numbers(match: re.Match[str] | None) -> dict[str, int]:
    """The named groups as numbers; `cap2` is another place for `cap`."""
    if match is None:
        return {}
    found: dict[str, int] = {}
    for name, text in match.groupdict().items():
        if text is not None and len(text) < 20:
            value = int(text.replace(",", ""))
            if value < _MAX_NUMBER:
                found[name.rstrip("0123456789")] = value
    return found


def _quota_names(said: Said) -> list[str]:
    """What Gemini's QuotaFailure names: `…RequestsPerMinutePerProject…`, `…PerDay…`."""
    names: list[str] = []
    for detail in said.details:
        violations = detail.get("violations")
        if type(violations) is list:
            for violation in violations[:8]:
                if type(violation) is dict:
                    names += [str(violation.get(k, ""))[:200] for k in ("quotaId", "quotaMetric")]
    return names
