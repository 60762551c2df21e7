"""Jobs as tests send them."""

from typing import Any

from broker.pricing.book import PriceBook
from broker.pricing.estimate import upper_bound

MODEL = "gpt-4o-mini"
OUTPUT_TOKENS_DEFAULT = 1_024
"""Of a project that sets none."""


def chat(prompt: str = "Name three canals.", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **fields}


def bound_nanodollars(request: dict[str, Any]) -> int:
    """What is held for one call of the request."""
    price = PriceBook.load().price(request["model"])
    return upper_bound("/v1/chat/completions", request, price, OUTPUT_TOKENS_DEFAULT).nanodollars_max
