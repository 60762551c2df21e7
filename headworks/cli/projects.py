"""`headworks projects`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.cli.groups import group
from headworks.cli.limits import limits_for_people
from headworks.cli.output import JsonOption, moment, opened, run, show, show_one
from headworks.cli.units import duration

if TYPE_CHECKING:
    from broker.ops.projects import ProjectRow

app = group(
    help="Projects: which models jobs may use, and how. What they may spend is set by `headworks budgets`."
)

ANY = "any"

AddressArgument = Annotated[str, typer.Argument(metavar="ORG/PROJECT", help="As in acme/search.")]
ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="MODEL", help="A model that may be used; may be repeated. `any` allows all."
    ),
]
OutputOption = Annotated[
    int | None,
    typer.Option(
        "--output-tokens-default",
        metavar="N",
        min=1,
        help="The output limit of requests that set none; 1024 at first.",
    ),
]
TtlOption = Annotated[
    int | None,
    typer.Option(
        "--ttl-s-max",
        metavar="SECONDS",
        min=1,
        help="How long a job may ask to live at most; 604800 at first.",
    ),
]
PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="JSON: a list of prices for models that the price book lacks, in its form (docs/prices.md).",
    ),
]


@app.command()
def create(
    project: AddressArgument,
    *,
    model: ModelOption = None,
    output_tokens_default: OutputOption = None,
    ttl_s_max: TtlOption = None,
    prices: PricesOption = None,
) -> None:
    """Make a project in an organization.

    Examples:
        headworks projects create acme/search
        headworks projects create acme/chat --model gpt-4o --model gpt-4o-mini

    It has no limits at first; `headworks budgets set` sets some.
    """
    from broker.identity.settings import ProjectSettings, read_settings
    from broker.ops import projects
    from broker.ops.projects import Address
    from broker.settings import Settings

    address = Address.parse(project)
    wanted = _changes(model, output_tokens_default, ttl_s_max, prices)

    async def work() -> None:
        async with opened(Settings.load()) as database:
            settings = read_settings(ProjectSettings, f"project {project}", wanted)
            await projects.create(database, address, settings)

    run(work())
    typer.echo(f"Made project {project}. Next: headworks apps create NAME --project {project}", err=True)


@app.command("set")
def set_settings(
    project: AddressArgument,
    *,
    model: ModelOption = None,
    output_tokens_default: OutputOption = None,
    ttl_s_max: TtlOption = None,
    prices: PricesOption = None,
) -> None:
    """Change what is named, and leave the rest. Workers follow within a second or two.

    Its limits are set by `headworks budgets set`.

    Examples:
        headworks projects set acme/search --output-tokens-default 500
        headworks projects set acme/search --model any
    """
    from broker.ops import projects
    from broker.ops.projects import Address, ProjectRow
    from broker.settings import Settings

    address = Address.parse(project)
    wanted = _changes(model, output_tokens_default, ttl_s_max, prices)
    if not wanted:
        raise typer.BadParameter("say what to change, for example --model gpt-4o-mini")

    async def work() -> ProjectRow:
        async with opened(Settings.load()) as database:
            return await projects.set_settings(database, address, wanted)

    _show_one(run(work()), as_json=False)


@app.command("show")
def show_project(project: AddressArgument, as_json: JsonOption = False) -> None:
    """Show one project's settings.

    Example:
        headworks projects show acme/search
    """
    from broker.ops import projects
    from broker.ops.projects import Address, ProjectRow
    from broker.settings import Settings

    address = Address.parse(project)

    async def work() -> ProjectRow:
        async with opened(Settings.load()) as database:
            return await projects.show(database, address)

    _show_one(run(work()), as_json=as_json)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """Show all projects.

    Example:
        headworks projects list --json
    """
    from broker.ops import projects
    from broker.ops.projects import ProjectRow
    from broker.settings import Settings

    async def work() -> list[ProjectRow]:
        async with opened(Settings.load()) as database:
            return await projects.list_all(database)

    rows = run(work())
    headings = ("project", "dollars per day", "requests per minute", "models", "created")
    show(map(_record if as_json else _for_people, rows), headings, as_json=as_json)


def _show_one(row: "ProjectRow", *, as_json: bool) -> None:
    show_one(_record(row) if as_json else _for_people(row), as_json=as_json)


def _record(row: "ProjectRow") -> dict[str, Any]:
    settings = row.settings.model_dump(mode="json")
    return {"project": str(row.address), **settings, "created": moment(row.created_ms)}


def _for_people(row: "ProjectRow") -> dict[str, str]:
    settings = row.settings
    return {
        "project": str(row.address),
        **limits_for_people(settings),
        "models": ", ".join(settings.models_allowed or ()) or "all that have a price",
        "own_prices": ", ".join(price.model for price in settings.prices) or "none",
        "output_tokens_default": f"{settings.output_tokens_default:,}",
        "longest_time_to_live": duration(settings.ttl_s_max * 1000),
        "created": str(moment(row.created_ms)),
    }


def _changes(
    model: list[str] | None,
    output_tokens_default: int | None,
    ttl_s_max: int | None,
    prices: Path | None,
) -> dict[str, Any]:
    """The fields of ProjectSettings that were named."""
    named: dict[str, Any] = {}
    if model:
        named["models_allowed"] = _models(model)
    if output_tokens_default is not None:
        named["output_tokens_default"] = output_tokens_default
    if ttl_s_max is not None:
        named["ttl_s_max"] = ttl_s_max
    if prices is not None:
        named["prices"] = _prices(prices)
    return named


def _models(named: list[str]) -> list[str] | None:
    if named == [ANY]:
        return None
    if ANY in named or not all(named):
        raise typer.BadParameter(f"name models, or `{ANY}` alone", param_hint="--model")
    return named


def _prices(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{path} is not valid JSON: {error}", param_hint="--prices") from None
