"""What the simulated provider reports is what a price of OpenAI's reads, and its faults are not believed."""

import hashlib
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.pricing.book import PriceBook
from broker.pricing.estimate import upper_bound
from broker.pricing.usage import read_usage
from headworks.simulate.answers import completion_of, embeddings_body, whole_chat
from headworks.simulate.behaviour import Behaviour, Fault
from headworks.simulate.faults import Fate
from headworks.simulate.requests import read_chat, read_embeddings
from schemas.envelope import Endpoint
from schemas.reasons import Disbelief
from schemas.state import Usage

CHAT: Endpoint = "/v1/chat/completions"
EMBEDDINGS: Endpoint = "/v1/embeddings"
BOOK = PriceBook.load()


def reported(request: dict[str, Any], endpoint: Endpoint, fault: Fault | None = None) -> Usage | Disbelief:
    body = orjson.dumps(request)
    if endpoint == EMBEDDINGS:
        answer = embeddings_body(read_embeddings(body), Behaviour(), fault)
    else:
        fate, digest = Fate(latency_ms=0, fault=fault), hashlib.sha256(body).digest()
        answer = whole_chat(completion_of(read_chat(body), digest, Behaviour(), fate, now=0))
    return read_usage(orjson.loads(answer), endpoint, BOOK.price(request["model"]).counting)


def chat(text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **fields}


def embeddings(text: str) -> dict[str, Any]:
    return {"model": "text-embedding-3-small", "input": [text, "a weir"]}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(1, 4), st.integers(1, 200))
def test_its_report_is_believed_and_within_the_bound(text: str, choices: int, limit: int) -> None:
    for endpoint, request in (
        (CHAT, chat(text, n=choices, max_completion_tokens=limit)),
        (EMBEDDINGS, embeddings(text)),
    ):
        usage = reported(request, endpoint)
        bound = upper_bound(endpoint, request, BOOK.price(request["model"]), 1_024)
        assert isinstance(usage, Usage)
        assert usage.input_tokens <= bound.input_tokens_max
        assert usage.output_tokens <= bound.output_tokens_max


@pytest.mark.parametrize(("endpoint", "make"), [(CHAT, chat), (EMBEDDINGS, embeddings)])
def test_its_faults_are_not(endpoint: Endpoint, make: Any) -> None:
    for number in range(20):
        request = make(f"lock {number}")
        assert reported(request, endpoint, Fault.MISSING_USAGE) is Disbelief.USAGE_MISSING
        assert reported(request, endpoint, Fault.ABSURD_USAGE) is Disbelief.USAGE_INVALID
