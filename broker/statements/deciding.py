"""What an entry of a statement means for its charge. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from broker.ops.dollars import to_dollars
from broker.pricing.cost import charge as cost_of
from broker.statements.entries import Entry, Fault, FaultCode
from broker.store.keys import AttemptKey
from schemas.state import Usage
from schemas.terms import Terms

NUMBER_MAX: Final = 1_000
"""Corrections of one charge."""


@dataclass(frozen=True, slots=True)
class Past:
    """A correction on record."""

    number: int
    input_tokens: int
    """By how many it changed them, as `output_tokens`."""
    output_tokens: int
    figure_nanodollars: int
    figure_tokens: int
    usage: Usage | None
    file_sha256: str
    reference: str | None


@dataclass(frozen=True, slots=True)
class Charged:
    """A charge, with what was found of it since, in the order of their numbers."""

    key: AttemptKey
    organization_id: int
    project_id: int
    key_id: str
    model: str
    price_version: str
    estimated: bool
    hold_nanodollars: int
    nanodollars: int
    tokens: int
    day: int
    month: int
    past: Sequence[Past] = ()

    @property
    def figure_nanodollars(self) -> int:
        """What it is known to cost by now."""
        return self.past[-1].figure_nanodollars if self.past else self.nanodollars

    @property
    def figure_tokens(self) -> int:
        return self.past[-1].figure_tokens if self.past else self.tokens


class Correction(NamedTuple):
    """The next of a charge: differences, and the figure that they lead to."""

    charge: Charged
    number: int
    nanodollars: int
    tokens: int
    input_tokens: int
    output_tokens: int
    figure_nanodollars: int
    figure_tokens: int
    usage: Usage | None


class Known(NamedTuple):
    """What the entry says is on record already."""

    charge: Charged
    is_newest: bool
    """Nothing else has come since: the charge comes to what the entry says."""


def decided(
    entry: Entry,
    charge: Charged | None,
    terms: Terms | None,
    file_sha256: str,
    *,
    amends: bool,
) -> Correction | Known | Fault:
    """`terms`: those that the charge was made by, where they are known; asked for a usage alone. `amends`: a
    charge that was corrected before, to something else, may be corrected again.
    """
    if charge is None:
        text = "no charge of that job, run and attempt; those of a job come with its end"
        return Fault(entry.line, FaultCode.CHARGE_UNKNOWN, text)
    if not charge.estimated:
        text = "the provider told its usage, and it was charged by that: only estimated charges are corrected"
        return Fault(entry.line, FaultCode.CHARGE_NOT_ESTIMATED, text)
    if (known := _known(entry, charge, file_sha256)) is not None:
        return known
    if charge.past and not amends:
        return Fault(entry.line, FaultCode.ALREADY_CORRECTED, _told(charge.past))
    if len(charge.past) >= NUMBER_MAX:
        return Fault(entry.line, FaultCode.ALREADY_CORRECTED, f"{NUMBER_MAX:,} times, which is the most")
    return _corrected(entry, charge, terms)


def _known(entry: Entry, charge: Charged, file_sha256: str) -> Known | None:
    """The newest figure says the same; or it is from this very file, whatever came after it."""
    if charge.past and _says(charge.past[-1], entry):
        return Known(charge, is_newest=True)
    if any(each.file_sha256 == file_sha256 for each in charge.past):
        return Known(charge, is_newest=False)
    return None


def _says(past: Past, entry: Entry) -> bool:
    if entry.usage is not None:
        return past.usage == entry.usage
    return past.figure_nanodollars == entry.nanodollars


def _told(past: Sequence[Past]) -> str:
    last = past[-1]
    by = last.reference or f"file {last.file_sha256[:12]}"
    figure = to_dollars(last.figure_nanodollars)
    return f"corrected before to {figure}, by {by}; --amend puts this figure in its place"


def _corrected(entry: Entry, charge: Charged, terms: Terms | None) -> Correction | Fault:
    usage = entry.usage
    if usage is None:
        # What an invoice says in dollars leaves the tokens as they were known.
        return _correction(charge, entry.nanodollars or 0, charge.figure_tokens, None, (0, 0))
    if terms is None:
        text = (
            f"price book {charge.price_version}, or model {charge.model} in it, is not at hand: give dollars"
        )
        return Fault(entry.line, FaultCode.PRICE_UNKNOWN, text)
    if usage.service_tier is not None and usage.service_tier not in terms.service_tiers:
        text = f"{charge.model} has no price for service_tier {usage.service_tier}: give dollars"
        return Fault(entry.line, FaultCode.PRICE_UNKNOWN, text)
    tokens = usage.input_tokens + usage.output_tokens
    more = (
        usage.input_tokens - sum(each.input_tokens for each in charge.past),
        usage.output_tokens - sum(each.output_tokens for each in charge.past),
    )
    return _correction(charge, cost_of(usage, terms), tokens, usage, more)


def _correction(
    charge: Charged, nanodollars: int, tokens: int, usage: Usage | None, more: tuple[int, int]
) -> Correction:
    return Correction(
        charge,
        charge.past[-1].number + 1 if charge.past else 1,
        nanodollars - charge.figure_nanodollars,
        tokens - charge.figure_tokens,
        *more,
        nanodollars,
        tokens,
        usage,
    )


def applications_of(entry: Entry, by_name: dict[str, int]) -> Collection[int]:
    """Whose charge it may be: that of the named application, or of any. By their ids."""
    if entry.application is None:
        return by_name.values()
    found = by_name.get(entry.application)
    return () if found is None else (found,)
