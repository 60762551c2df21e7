"""The options of `headworks run`."""

from pathlib import Path
from typing import Annotated

import typer

from schemas.envelope import ATTEMPTS_MAX, TTL_S_MAX
from schemas.topics import Lane

Source = Annotated[
    str, typer.Argument(metavar="INPUT.jsonl", help="Requests, one a line; `-` is standard input.")
]
Output = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="OUT.jsonl", dir_okay=False, help="Where the answers go."),
]
Errors = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        dir_okay=False,
        help="Where refusals, failures and malformed lines go. Without it, OUT.errors.jsonl.",
    ),
]
LaneOption = Annotated[
    Lane, typer.Option(metavar="LANE", help="Quality of service: interactive, standard or bulk.")
]
InFlight = Annotated[int, typer.Option(metavar="N", min=1, max=50_000, help="Jobs open at a time.")]
RunId = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Name the run. Without it, it is named by the input's content."),
]
Ttl = Annotated[
    int,
    typer.Option(metavar="SECONDS", min=1, max=TTL_S_MAX, help="How long a job may wait before it expires."),
]
Attempts = Annotated[
    int,
    typer.Option(metavar="N", min=1, max=ATTEMPTS_MAX, help="Calls to a provider that a job may use up."),
]
AtMostOnce = Annotated[
    bool, typer.Option("--at-most-once", help="Never repeat a call whose outcome is unknown.")
]
IdleTimeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=1, help="Give up when nothing comes back for so long."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")]
