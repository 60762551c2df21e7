"""From a call's request to its answer and its record: pure, as all that decides is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from headworks.simulate.answers import (
    broken,
    completion_of,
    embeddings_body,
    error_body,
    streamed_chat,
    whole_chat,
)
from headworks.simulate.behaviour import Behaviour, Fault
from headworks.simulate.calls import Call
from headworks.simulate.delivery import Delivery, drop, drop_in_body, hang, streamed, whole
from headworks.simulate.faults import Allowance, Fate, canned_for, dice_of, fate_of
from headworks.simulate.requests import (
    ChatRequest,
    EmbeddingsRequest,
    RequestRefused,
    model_of,
    read_chat,
    read_embeddings,
)
from headworks.simulate.wire import Request

READERS: Final[Mapping[str, Callable[[bytes], ChatRequest | EmbeddingsRequest]]] = {
    "/v1/chat/completions": read_chat,
    "/v1/embeddings": read_embeddings,
}
"""The endpoints whose calls are counted and logged."""
JOB_HEADER: Final = "x-headworks-job-id"
RUN_HEADER: Final = "x-headworks-run"
ATTEMPT_HEADER: Final = "x-headworks-attempt"
FIELD_CHARS_MAX: Final = 128
_NUMBER_DIGITS_MAX: Final = 9
_AT_ONCE: Final = Fate(latency_ms=0)
_CROWDED: Final = Fate(latency_ms=0, status=429)


@dataclass(frozen=True, slots=True)
class Facts:
    """What decides about a call beside its request."""

    behaviour: Behaviour
    now: float
    """Unix seconds."""
    number: int
    """Of the call at this server, from 1."""
    authorized: bool
    allowance: Allowance | None
    """None where no limit is set, or the call is not authorized and takes nothing of it."""
    at_once: int = 1
    """Calls under way, this one among them."""

    @property
    def crowded(self) -> bool:
        most = self.behaviour.calls_at_once_max
        return most is not None and self.at_once > most


@dataclass(frozen=True, slots=True)
class Answered:
    delivery: Delivery
    call: Call


def answer(request: Request, facts: Facts) -> Answered:
    """A call is turned away, is refused for its body, suffers its fate, or is answered."""
    exchange = _Exchange(facts, _caller_of(request.headers), sha256(request.body).digest())
    if not facts.authorized:
        return exchange.error(401, "the API key is missing or wrong", model_of(request.body))
    if facts.allowance is not None and facts.allowance.retry_after_s is not None:
        return exchange.error(429, "more requests a second than the limit", model_of(request.body))
    if facts.crowded:
        return exchange.error(429, "more calls at once than the limit", model_of(request.body), fate=_CROWDED)
    try:
        asked = READERS[request.path](request.body)
    except RequestRefused as refused:
        return exchange.error(400, str(refused), model_of(request.body), param=refused.param)
    fate = exchange.fate(request.body)
    if fate.status != 200:
        return exchange.error(fate.status, "an error, as set", asked.model, fate=fate)
    if fate.fault is Fault.HANG or fate.fault is Fault.DROP_BEFORE_ANSWER:
        return exchange.silence(fate, asked.model)
    return exchange.chat(asked, fate) if isinstance(asked, ChatRequest) else exchange.embeddings(asked, fate)


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who says it calls. Headers that make no sense count as absent."""

    job_id: str | None
    run: int | None
    attempt: int | None

    def __str__(self) -> str:
        return f"{self.job_id}/{self.run}/{self.attempt}"


def _caller_of(headers: Mapping[str, str]) -> _Caller:
    job_id = headers.get(JOB_HEADER, "")[:FIELD_CHARS_MAX] or None
    return _Caller(job_id, _number(headers.get(RUN_HEADER, "")), _number(headers.get(ATTEMPT_HEADER, "")))


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _NUMBER_DIGITS_MAX else None


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One call's way to its answer; every method makes one kind of answer together with its record."""

    facts: Facts
    caller: _Caller
    digest: bytes

    def fate(self, body: bytes) -> Fate:
        # A caller that names no job has no attempts to tell apart: its calls differ by their number.
        who = str(self.caller) if self.caller.job_id is not None else f"#{self.facts.number}"
        dice = dice_of(self.facts.behaviour.seed, self.digest, who)
        canned = canned_for(self.facts.behaviour, body, self.caller.job_id, self.caller.attempt)
        return fate_of(self.facts.behaviour, dice, canned, self.facts.at_once)

    def error(
        self, status: int, reason: str, model: str | None, *, param: str | None = None, fate: Fate = _AT_ONCE
    ) -> Answered:
        headers = self._headers()
        if fate.status == 429:
            headers["retry-after"] = str(self.facts.behaviour.retry_after_s)
        delivery = whole(status, error_body(status, reason, param), headers=headers, after_ms=fate.latency_ms)
        return Answered(delivery, self._call(model, status, fate.fault))

    def silence(self, fate: Fate, model: str) -> Answered:
        delivery = hang() if fate.fault is Fault.HANG else drop(fate.latency_ms)
        return Answered(delivery, self._call(model, None, fate.fault))

    def chat(self, asked: ChatRequest, fate: Fate) -> Answered:
        completion = completion_of(asked, self.digest, self.facts.behaviour, fate, self.facts.now)
        if asked.stream:
            events = streamed_chat(completion, include_usage=asked.include_usage)
            gap_ms = self.facts.behaviour.stream_gap_ms
            delivery = streamed(events, self._headers(), fate.latency_ms, gap_ms, fate.fault)
        else:
            delivery = self._body(whole_chat(completion), fate)
        tokens = asked.prompt_tokens, completion.completion_tokens
        return Answered(delivery, self._call(asked.model, 200, fate.fault, *tokens))

    def embeddings(self, asked: EmbeddingsRequest, fate: Fate) -> Answered:
        delivery = self._body(embeddings_body(asked, self.facts.behaviour, fate.fault), fate)
        return Answered(delivery, self._call(asked.model, 200, fate.fault, asked.prompt_tokens, 0))

    def _body(self, body: bytes, fate: Fate) -> Delivery:
        if fate.fault is Fault.DROP_IN_BODY:
            return drop_in_body(body, self._headers(), fate.latency_ms)
        if fate.fault is Fault.TRUNCATED:
            body = body[: len(body) // 2]
        elif fate.fault is Fault.BROKEN_JSON:
            body = broken(body)
        return whole(200, body, headers=self._headers(), after_ms=fate.latency_ms)

    def _headers(self) -> dict[str, str]:
        headers = {"x-request-id": f"simulated-{self.facts.number}"}
        allowance = self.facts.allowance
        if allowance is not None:
            headers["x-ratelimit-limit-requests"] = str(allowance.limit)
            headers["x-ratelimit-remaining-requests"] = str(allowance.remaining)
            headers["x-ratelimit-reset-requests"] = f"{round(allowance.reset_s * 1000)}ms"
            if allowance.retry_after_s is not None:
                headers["retry-after"] = str(allowance.retry_after_s)
        return headers

    def _call(
        self,
        model: str | None,
        status: int | None,
        fault: Fault | None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
    ) -> Call:
        return Call(
            at=self.facts.now,
            job_id=self.caller.job_id,
            run=self.caller.run,
            attempt=self.caller.attempt,
            model=model[:FIELD_CHARS_MAX] if model is not None else None,
            status=status,
            fault=fault,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            body_sha256=self.digest.hex(),
        )
