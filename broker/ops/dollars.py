"""Dollars as people write them, and the nano-dollars that are counted. No floats in between."""

import re

from broker.errors import SettingsInvalid
from broker.quota.limits import NUMBER_MAX

NANODOLLARS = 1_000_000_000
_FORM = re.compile(r"(?P<whole>[0-9]{1,7})(?:\.(?P<fraction>[0-9]{1,9}))?")


def to_nanodollars(text: str) -> int:
    """From `25`, `0.5` or `12.000000001`. Raises SettingsInvalid on another form or more than can be."""
    match = _FORM.fullmatch(text.strip().removeprefix("$"))
    if match is None:
        raise SettingsInvalid(
            f"{text[:40]!r} is not an amount of dollars like 25 or 0.50, of at most 9 decimals"
        )
    amount = int(match["whole"]) * NANODOLLARS + int((match["fraction"] or "").ljust(9, "0"))
    if amount > NUMBER_MAX:
        raise SettingsInvalid(f"{text[:40]} dollars are more than can be counted, {to_dollars(NUMBER_MAX)}")
    return amount


def to_dollars(nanodollars: int) -> str:
    """Exactly, with two decimals or as many as it takes: `$25.00`, `$0.000000001`, `-$0.50`."""
    whole, rest = divmod(abs(nanodollars), NANODOLLARS)
    fraction = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{'-' if nanodollars < 0 else ''}${whole}.{fraction}"
