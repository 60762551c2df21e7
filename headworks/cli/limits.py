"""The options that set limits, of organizations, projects and keys; and limits as people read them."""

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


def limits(**given: str | None) -> dict[str, Any]:
    """The fields of Limits that were named. Raises SettingsInvalid for what is no amount of dollars."""
    from broker.ops.dollars import to_nanodollars

    def amount(name: str, text: str) -> int | str | None:
        if text == NONE:
            return None
        return to_nanodollars(text) if name.startswith("nanodollars") else text

    return {name: amount(name, text) for name, text in given.items() if text is not None}


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
