"""`headworks topics`."""

from typing import Annotated, Any

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, opened, run, show
from headworks.cli.units import duration, size

app = group(help="Kafka topics: make them, keep them right.")


@app.command()
def apply(
    grow_outcomes: Annotated[
        bool,
        typer.Option(
            "--grow-outcomes",
            help="Add partitions to outcomes.* too, where the settings ask for more. Only while no job is "
            "under way: a job finds its outcome by its partition.",
        ),
    ] = False,
) -> None:
    """Make the topics that are missing and mend the settings of the others. Applying again changes nothing.

    How many partitions and replicas they get is in the settings, section kafka.

    Examples:
        headworks topics apply
        HEADWORKS_KAFKA__PARTITIONS=12 headworks topics apply
    """
    from broker.kafka.topics import Report
    from broker.ops import topics
    from broker.settings import Settings

    settings = Settings.load()

    async def work() -> Report:
        async with opened(settings) as database:
            return await topics.apply(database, settings.kafka, grow_outcomes=grow_outcomes)

    report = run(work())
    for line in report.done:
        typer.echo(line)
    for difference in report.left:
        typer.echo(f"left as it is: {difference}. To mend it: {difference.remedy}", err=True)
    if report.left:
        raise typer.Exit(1)
    if not report.done:
        typer.echo("All topics are as they should be.")


@app.command()
def check(as_json: JsonOption = False) -> None:
    """Say in what the topics differ from what they should be. Exit status 1 if they do.

    Example:
        headworks topics check
    """
    from broker.kafka.topic_plan import Difference
    from broker.ops import topics
    from broker.settings import Settings

    settings = Settings.load()

    async def work() -> list[Difference]:
        async with opened(settings) as database:
            return await topics.check(database, settings.kafka)

    records = [difference._asdict() | {"remedy": difference.remedy} for difference in run(work())]
    if records or as_json:
        show(records, ("topic", "name", "wanted", "found", "remedy"), as_json=as_json)
    else:
        typer.echo("All topics are as they should be.")
    if records:
        raise typer.Exit(1)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """Show the topics of Headworks as they stand.

    Example:
        headworks topics list --json
    """
    from broker.kafka.cluster import NewTopicSpec, TopicState
    from broker.ops import topics
    from broker.settings import Settings

    settings = Settings.load()

    async def work() -> list[tuple[NewTopicSpec, TopicState | None]]:
        async with opened(settings) as database:
            return await topics.list_all(database, settings.kafka)

    records: list[dict[str, Any]] = [
        {
            "topic": spec.name,
            "state": "missing" if state is None else "no leader" if state.leaderless else "up",
            "partitions": None if state is None else state.partitions,
            "replicas": None if state is None else state.replication_factor,
            "retention_ms": int(spec.settings["retention.ms"]),
            "record_bytes_max": int(spec.settings["max.message.bytes"]),
        }
        for spec, state in run(work())
    ]
    if not as_json:
        records = [_for_people(record) for record in records]
    headings = ("topic", "state", "partitions", "replicas", "kept for", "largest record")
    show(records, headings, as_json=as_json)


def _for_people(record: dict[str, Any]) -> dict[str, Any]:
    kept, largest = duration(record["retention_ms"]), size(record["record_bytes_max"])
    return record | {"kept_for": kept, "largest_record": largest}
