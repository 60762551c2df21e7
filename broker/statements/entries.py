"""One row of a statement: which charge it is about, and what that call really used, or cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple
from uuid import UUID

from broker.errors import SettingsInvalid
from broker.ops.dollars import to_nanodollars
from schemas.state import Usage
from schemas.terms import TOKENS_MAX

_NUMBER_MAX: Final = 2**15 - 1
"""Of runs and attempts: SMALLINT."""
_DIGITS: Final = re.compile(r"[0-9]{1,10}")
_TIERS: Final = ("flex", "priority", "batch")

REQUIRED: Final = ("job", "run", "attempt")
_TOKENS: Final = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_USAGE: Final = (*_TOKENS, "service_tier")
DOLLARS: Final = "dollars"
TOLD: Final = (
    "project",
    "target",
    "model",
    "price_version",
    "verdict",
    "reason",
    "charged_nanodollars",
    "month",
    "charged_at",
)
"""Columns that `headworks ledger estimated` writes and nobody reads: a file made from its may keep them."""
COLUMNS: Final = frozenset({"application", *REQUIRED, *_USAGE, DOLLARS, *TOLD})


class FaultCode(StrEnum):
    """Stable names of what may be wrong with a statement."""

    STATEMENT_EMPTY = "statement_empty"
    HEADER_INVALID = "header_invalid"
    ROW_MALFORMED = "row_malformed"
    VALUE_INVALID = "value_invalid"
    ROW_INCOMPLETE = "row_incomplete"
    ROW_CONTRADICTORY = "row_contradictory"
    ROW_REPEATED = "row_repeated"
    CHARGE_UNKNOWN = "charge_unknown"
    CHARGE_AMBIGUOUS = "charge_ambiguous"
    CHARGE_NOT_ESTIMATED = "charge_not_estimated"
    PRICE_UNKNOWN = "price_unknown"
    ALREADY_CORRECTED = "already_corrected"


class Fault(NamedTuple):
    """`line` counts from 1, as editors do; `text` says what to do."""

    line: int
    code: FaultCode
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Either `usage` is told, or `nanodollars`. `application`: its name, where the row has it."""

    line: int
    application: str | None
    job_id: UUID
    run: int
    attempt: int
    usage: Usage | None
    nanodollars: int | None


class _Wrong(Exception):
    def __init__(self, code: FaultCode, text: str) -> None:
        super().__init__(text)
        self.code = code


def entry_of(line: int, fields: Mapping[str, Any]) -> Entry | Fault:
    """`fields`: texts of CSV or values of JSON, numbers as texts, by column, each of COLUMNS. What is
    empty was not said.
    """
    said = {name: value for name, value in fields.items() if name not in TOLD and _is_said(value)}
    try:
        for name in REQUIRED:
            if name not in said:
                raise _Wrong(FaultCode.ROW_INCOMPLETE, f"{name} is missing: it names the charge")
        usage, nanodollars = _figure(said)
        return Entry(
            line,
            _text(said, "application"),
            _uuid(said),
            _whole(said, "run", 1, _NUMBER_MAX),
            _whole(said, "attempt", 1, _NUMBER_MAX),
            usage,
            nanodollars,
        )
    except _Wrong as wrong:
        return Fault(line, wrong.code, str(wrong))


def _is_said(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())


def _figure(said: Mapping[str, Any]) -> tuple[Usage | None, int | None]:
    usage = [name for name in _USAGE if name in said]
    if DOLLARS in said:
        if usage:
            raise _Wrong(
                FaultCode.ROW_CONTRADICTORY,
                f"both {DOLLARS} and {usage[0]} are given: leave one of them empty",
            )
        return None, _dollars(said[DOLLARS])
    if not usage:
        raise _Wrong(
            FaultCode.ROW_INCOMPLETE,
            f"neither {DOLLARS} nor input_tokens and output_tokens: give one, or take the row out",
        )
    for name in ("input_tokens", "output_tokens"):
        if name not in said:
            raise _Wrong(
                FaultCode.ROW_INCOMPLETE, f"{name} is missing beside {usage[0]}: 0 if there were none"
            )
    return _usage(said), None


def _usage(said: Mapping[str, Any]) -> Usage:
    tokens = {name: _whole(said, name, 0, TOKENS_MAX) for name in _TOKENS if name in said}
    if tokens.get("cached_input_tokens", 0) + tokens.get("cache_write_tokens", 0) > tokens["input_tokens"]:
        raise _Wrong(
            FaultCode.ROW_CONTRADICTORY,
            "more cached tokens than input: here they are part of input_tokens, so add them to it",
        )
    if tokens.get("reasoning_tokens", 0) > tokens["output_tokens"]:
        raise _Wrong(
            FaultCode.ROW_CONTRADICTORY,
            "more reasoning than output: here it is part of output_tokens, so add it to that",
        )
    tier = _text(said, "service_tier")
    if tier is not None and tier not in _TIERS:
        raise _Wrong(
            FaultCode.VALUE_INVALID, f"service_tier is {', '.join(_TIERS)}, or empty for the plain one"
        )
    return Usage.model_validate({**tokens, "service_tier": tier})


def _dollars(value: Any) -> int:
    if not isinstance(value, str):
        raise _Wrong(FaultCode.VALUE_INVALID, "dollars is an amount like 0.0123")
    try:
        return to_nanodollars(value)
    except SettingsInvalid as error:
        raise _Wrong(FaultCode.VALUE_INVALID, f"dollars: {error}") from None


def _uuid(said: Mapping[str, Any]) -> UUID:
    text = _text(said, "job") or ""
    try:
        return UUID(text)
    except ValueError:
        raise _Wrong(FaultCode.VALUE_INVALID, f"job: {text[:40]!a} is no job id, which is a UUID") from None


def _whole(said: Mapping[str, Any], name: str, least: int, most: int) -> int:
    value = said[name]
    text = value.strip() if isinstance(value, str) else ""
    if _DIGITS.fullmatch(text) is None or not least <= int(text) <= most:
        raise _Wrong(
            FaultCode.VALUE_INVALID, f"{name}: {text[:40]!a} is no whole number from {least:,} to {most:,}"
        )
    return int(text)


def _text(said: Mapping[str, Any], name: str) -> str | None:
    value = said.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Wrong(FaultCode.VALUE_INVALID, f"{name} is a text")
    return value.strip()
