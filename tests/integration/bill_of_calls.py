"""What the calls in a provider's own log cost: nothing of Headworks but the price book's file.

python bill_of_calls.py calls.jsonl prices.json
"""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any


def bill_of_calls(calls: Path, prices: Path) -> dict[str, int]:
    """Nanodollars by model, each call rounded up by itself. Calls that were not answered cost nothing."""
    rates = _rates(json.loads(prices.read_text()))
    bill: Counter[str] = Counter()
    for line in calls.read_text().splitlines():
        call = json.loads(line)
        if call["status"] == 200:
            bill[call["model"]] += _cost(rates[call["model"]], call)
    return dict(bill)


def _rates(book: Mapping[str, Any]) -> dict[str, Mapping[str, int]]:
    return {
        name: model["rates"]
        for model in book["models"]
        for name in (model["model"], *model.get("aliases", ()))
    }


def _cost(rates: Mapping[str, int], call: Mapping[str, int]) -> int:
    """Rates are nanodollars a million tokens."""
    exact = Fraction(
        rates["input"] * call["prompt_tokens"] + rates["output"] * (call["completion_tokens"] or 0), 10**6
    )
    return -(-exact.numerator // exact.denominator)


if __name__ == "__main__":
    json.dump(bill_of_calls(Path(sys.argv[1]), Path(sys.argv[2])), sys.stdout, indent=2)
