"""`headworks webhooks`."""

from typing import Annotated

import typer

from headworks.cli.groups import group
from headworks.cli.output import JsonOption, moment, opened, run, show

app = group(help="Webhooks: where an organization is told of its budgets and reviews.")


@app.command()
def add(
    organization: Annotated[str, typer.Argument(metavar="ORG", help="Whose notices.")],
    url: Annotated[str, typer.Argument(metavar="URL", help="https://host/path, at a public address.")],
) -> None:
    """Add an address to send notices to, and print the secret that they are signed with, once.

    Example:
        headworks webhooks add acme https://hooks.acme.example/headworks

    A notice says that 50, 80 or 100 % of a day's or a month's budget are used, or that a job waits for a
    reviewer. It is signed as Standard Webhooks has it: any of its libraries verifies it with the secret. It
    is sent until it is answered with a 2xx status, for three days at most, and may come twice, under the same
    webhook-id.
    """
    from broker.ops import webhooks
    from broker.ops.webhooks import Added
    from broker.settings import Settings
    from broker.webhooks import written

    settings = Settings.load()
    kek = settings.key_encryption_key()

    async def work() -> Added:
        async with opened(settings) as database:
            return await webhooks.add(database, kek, settings.webhooks, organization, url)

    added = run(work())
    typer.echo(written(added.secret))
    typer.echo(f"Added webhook {added.id}. Keep the line above: it is shown this once.", err=True)


@app.command()
def remove(
    webhook: Annotated[str, typer.Argument(metavar="WEBHOOK", help="As `headworks webhooks list` shows it.")],
) -> None:
    """Send no more notices to an address.

    Example:
        headworks webhooks remove wh3f9a1c0b5d7e24
    """
    from broker.ops import webhooks
    from broker.settings import Settings

    async def work() -> None:
        async with opened(Settings.load()) as database:
            await webhooks.remove(database, webhook)

    run(work())
    typer.echo(f"Webhook {webhook} is removed.", err=True)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """Show where notices go, and never a secret.

    Example:
        headworks webhooks list
    """
    from broker.ops import webhooks
    from broker.ops.webhooks import WebhookRow
    from broker.settings import Settings

    async def work() -> list[WebhookRow]:
        async with opened(Settings.load()) as database:
            return await webhooks.list_all(database)

    records = [
        {
            "webhook": row.id,
            "organization": row.organization,
            "url": row.url,
            "created": moment(row.created_ms),
        }
        for row in run(work())
    ]
    show(records, ("webhook", "organization", "url", "created"), as_json=as_json)
