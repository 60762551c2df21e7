"""The options that set limits, the same for organizations, projects and keys."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from broker.quota.limits import Limits

NONE = "none"

DollarsPerDay = Annotated[
    str | None,
    typer.Option(
        "--dollars-per-day",
        metavar="DOLLARS",
        help="What may be spent a day: 25, 0.50, or none for no limit.",
    ),
]
DollarsPerMonth = Annotated[
    str | None,
    typer.Option(
        "--dollars-per-month", metavar="DOLLARS", help="What may be spent a calendar month, or none."
    ),
]
RequestsPerMinute = Annotated[
    str | None,
    typer.Option(
        "--requests-per-minute", metavar="N", help="Calls that may start a minute: 600, or none for no limit."
    ),
]
TokensPerMinute = Annotated[
    str | None,
    typer.Option(
        "--tokens-per-minute", metavar="N", help="Input and output tokens a minute: 50000, or none."
    ),
]
TokensPerDay = Annotated[
    str | None, typer.Option("--tokens-per-day", metavar="N", help="The same a day, or none.")
]
TokensPerMonth = Annotated[
    str | None, typer.Option("--tokens-per-month", metavar="N", help="The same a calendar month, or none.")
]
JobsInFlight = Annotated[
    str | None,
    typer.Option("--jobs-in-flight", metavar="N", help="Jobs held and not ended at a time, or none."),
]


def limits(
    dollars_per_day: str | None,
    dollars_per_month: str | None,
    requests_per_minute: str | None,
    tokens_per_minute: str | None,
    tokens_per_day: str | None,
    tokens_per_month: str | None,
    jobs_in_flight: str | None,
) -> dict[str, Any]:
    """The fields of Limits that were named. Raises SettingsInvalid for what is no amount of dollars."""
    from broker.ops.dollars import to_nanodollars

    dollars = {"nanodollars_per_day": dollars_per_day, "nanodollars_per_month": dollars_per_month}
    numbers = {
        "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute,
        "tokens_per_day": tokens_per_day,
        "tokens_per_month": tokens_per_month,
        "jobs_in_flight": jobs_in_flight,
    }
    named: dict[str, Any] = {name: text for name, text in numbers.items() if text is not None}
    named |= {
        name: text if text == NONE else to_nanodollars(text)
        for name, text in dollars.items()
        if text is not None
    }
    return {name: None if value == NONE else value for name, value in named.items()}


def limits_for_people(of: "Limits") -> dict[str, str]:
    from broker.ops.dollars import to_dollars
    from broker.quota.limits import REASONS

    said: dict[str, str] = {}
    for name in REASONS:
        cap: int | None = getattr(of, name)
        is_money = name.startswith("nanodollars")
        amount = "no limit" if cap is None else to_dollars(cap) if is_money else f"{cap:,}"
        said[name.removeprefix("nano")] = amount
    return said
