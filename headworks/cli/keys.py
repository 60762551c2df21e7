"""`headworks keys`."""

import base64
import secrets
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headworks.cli.groups import group
from headworks.cli.limits import limits_for_people
from headworks.cli.output import JsonOption, moment, opened, run, show, show_one

if TYPE_CHECKING:
    from broker.ops.keys import KeyRow

app = group(help="Keys: what applications sign with.")

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="As `headworks keys list` shows it.")]


@app.command()
def create(
    application: Annotated[str, typer.Argument(metavar="APPLICATION", help="Whose key it will be.")],
) -> None:
    """Make a key and print its credential, once: the secret cannot be shown again.

    Example, in the shell of the application:
        export HEADWORKS_CREDENTIAL=$(headworks keys create indexer)
    """
    from broker.identity.credential import Credential
    from broker.ops import keys
    from broker.settings import Settings

    settings = Settings.load()
    kek = settings.key_encryption_key()

    async def work() -> Credential:
        async with opened(settings) as database:
            return await keys.create(database, kek, application)

    credential = run(work())
    typer.echo(credential.reveal())
    typer.echo(f"Made key {credential.key_id}. Keep the line above: it is shown this once.", err=True)


@app.command()
def revoke(key_id: KeyArgument) -> None:
    """Refuse whatever is signed with a key from now on. Workers follow within a second or two.

    Jobs that were admitted before go on.

    Example:
        headworks keys revoke 3f9a1c0b5d7e2468
    """
    from broker.ops import keys
    from broker.ops.keys import KeyRow
    from broker.settings import Settings

    async def work() -> KeyRow:
        async with opened(Settings.load()) as database:
            return await keys.revoke(database, key_id)

    row = run(work())
    typer.echo(f"Key {row.id} of {row.application} is revoked since {moment(row.revoked_ms)}.", err=True)


@app.command("show")
def show_key(key_id: KeyArgument, as_json: JsonOption = False) -> None:
    """Show one key's limits, and never the secret. `headworks budgets set key:KEY` sets some.

    Example:
        headworks keys show 3f9a1c0b5d7e2468
    """
    from broker.ops import keys
    from broker.ops.keys import KeyRow
    from broker.settings import Settings

    async def work() -> KeyRow:
        async with opened(Settings.load()) as database:
            return await keys.show(database, key_id)

    row = run(work())
    show_one(_record(row) if as_json else _for_people(row), as_json=as_json)


@app.command("list")
def list_all(
    application: Annotated[
        str | None, typer.Argument(metavar="APPLICATION", help="Only this one's keys.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show keys, revoked ones too, and never a secret.

    Example:
        headworks keys list indexer
    """
    from broker.ops import keys
    from broker.ops.keys import KeyRow
    from broker.settings import Settings

    async def work() -> list[KeyRow]:
        async with opened(Settings.load()) as database:
            return await keys.list_all(database, application)

    rows = run(work())
    headings = ("key", "application", "dollars per day", "created", "revoked")
    show(map(_record if as_json else _for_people, rows), headings, as_json=as_json)


@app.command()
def generate_secret() -> None:
    """Print 32 fresh random bytes in base64, for the broker's own secrets.

    Example:
        export HEADWORKS_SECRETS__SEAL_KEY=$(headworks keys generate-secret)

    It needs two, HEADWORKS_SECRETS__KEY_ENCRYPTION_KEY and HEADWORKS_SECRETS__SEAL_KEY, the same for every
    worker. Keep them: with others it can open neither the applications' keys nor the jobs under way.
    """
    typer.echo(base64.b64encode(secrets.token_bytes(32)).decode())


def _record(row: "KeyRow") -> dict[str, Any]:
    return {
        "key": row.id,
        "application": row.application,
        **row.settings.model_dump(mode="json"),
        "created": moment(row.created_ms),
        "revoked": moment(row.revoked_ms),
    }


def _for_people(row: "KeyRow") -> dict[str, str | None]:
    return {
        "key": row.id,
        "application": row.application,
        **limits_for_people(row.settings),
        "created": moment(row.created_ms),
        "revoked": moment(row.revoked_ms),
    }
