"""Jobs as tests send them."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from broker.pricing.book import PriceBook
from broker.pricing.estimate import upper_bound

MODEL = "gpt-4o-mini"
OUTPUT_TOKENS_DEFAULT = 1_024
"""Of a project that sets none."""


def chat(prompt: str = "Name three canals.", **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": prompt}], **fields}


def chats(number: int | None = None, **fields: Any) -> Iterator[dict[str, Any]]:
    """So many jobs, or as many as are asked for; their prompts end in their numbers."""
    numbers = count() if number is None else range(number)
    return (chat(f"Name canal number {index}.", **fields) for index in numbers)


def bound_nanodollars(request: dict[str, Any]) -> int:
    """What is held for one call of the request."""
    price = PriceBook.load().price(request["model"])
    return upper_bound("/v1/chat/completions", request, price, OUTPUT_TOKENS_DEFAULT).nanodollars_max
