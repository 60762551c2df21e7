"""`headworks policy activate`, `rollback`, `shadow`, `list`, `show` and `explain`: which document decides."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from headworks.cli.output import JsonOption, moment, opened, run, show, show_one

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.ops.explain import Explained
    from broker.ops.policies import Changed, Listed
    from broker.ops.projects import Address
    from broker.policy.revision import PolicyRevision
    from broker.store.database import Database
    from broker.store.flags import FlagRow
    from schemas.state import AnswerDecision

_FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The policy document.")
]
_ProjectOption = Annotated[
    str | None,
    typer.Option(
        "--project", metavar="ORG/PROJECT", help="Its jobs alone; else all without a policy of their own."
    ),
]
_SHORT = 12


def activate(file: _FileArgument, project: _ProjectOption = None) -> None:
    """Check a document, run its tests, and let it decide. Workers follow within a second or two.

    Examples:
        headworks policy activate policy.yaml
        headworks policy activate strict.yaml --project acme/search

    A document that is not right is refused with the line, the rule and the reason, and what decided before
    goes on deciding. Who did it is on record: the environment variable HEADWORKS_OPERATOR, else the login
    name.
    """
    from broker.ops import policies

    revision, address = _revision(file), _address(project)
    _tell(_done(lambda database: policies.activate(database, revision, address)), "decides for")


def rollback(project: _ProjectOption = None) -> None:
    """Go back to the revision before. A project's first gives way to the default.

    Examples:
        headworks policy rollback
        headworks policy rollback --project acme/search
    """
    from broker.ops import policies

    address = _address(project)
    _tell(_done(lambda database: policies.rollback(database, address)), "decides for")


def shadow(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The candidate.")
    ] = None,
    project: _ProjectOption = None,
    off: Annotated[bool, typer.Option("--off", help="End it.")] = False,
) -> None:
    """Let a candidate decide beside the live document, and count where they differ. Nothing else changes.

    Examples:
        headworks policy shadow new.yaml
        headworks policy shadow --off

    The counts are metrics, by both effects: headworks_policy_shadow_total of jobs, and of their answers
    headworks_policy_shadow_answers_total.
    """
    from broker.ops import policies

    if off is (file is not None):
        raise typer.BadParameter("name a document, or --off")
    revision, address = None if file is None else _revision(file), _address(project)
    _tell(_done(lambda database: policies.shadow(database, revision, address)), "is in the shadow for")


def list_all(as_json: JsonOption = False) -> None:
    """Show every revision that was ever handed in, and where each decides.

    Example:
        headworks policy list
    """
    from broker.ops import policies

    rows = _done(policies.list_all)
    headings = ("revision", "decides for", "shadows", "created")
    show((_record(row, whole=as_json) for row in rows), headings, as_json=as_json)


def show_document(
    revision: Annotated[
        str | None, typer.Argument(metavar="REVISION", help="Its beginning is enough; else the live one.")
    ] = None,
    project: Annotated[
        str | None,
        typer.Option("--project", metavar="ORG/PROJECT", help="The one that decides for this project."),
    ] = None,
) -> None:
    """Print a document as it was handed in.

    Examples:
        headworks policy show > policy.yaml
        headworks policy show 4f2a90c1d3e7 > old.yaml
    """
    from broker.ops import policies

    address = _address(project)
    if revision is not None and address is not None:
        raise typer.BadParameter("name a revision, or a project")
    stored = _done(
        lambda database: (
            policies.live(database, address) if revision is None else policies.show(database, revision)
        )
    )
    typer.echo(stored.text, nl=not stored.text.endswith("\n"))
    typer.echo(f"revision {stored.id}", err=True)


def explain(
    job_id: Annotated[UUID, typer.Argument(metavar="JOB", help="As `submit` prints it.")],
    application: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose job, where several used the id.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read a job's envelope again, decide it anew under the revision that decided it, and show why.

    Example:
        headworks policy explain 019b76da-a800-7d3f-8a5b-1c2d3e4f5061

    It needs Kafka, the database and a job that has ended, and shows no text of it. The decision comes out the
    same, id and all, as long as the same detectors look. What was decided on the answer is shown as it is on
    record.

    Exit status: 0 the same; 1 another one, or it cannot be told.
    """
    from broker.ops.explain import explain as explained
    from broker.settings import Settings

    settings = Settings.load()
    found = _done(lambda database: explained(settings, database, job_id, application))
    show_one(_explanation(found, whole=as_json), as_json=as_json)
    if not found.same:
        raise typer.Exit(1)


def _done(work: "Callable[[Database], Awaitable[Any]]") -> Any:
    from broker.settings import Settings

    async def on_database() -> Any:
        async with opened(Settings.load()) as database:
            return await work(database)

    return run(on_database())


def _address(project: str | None) -> "Address | None":
    from broker.ops.projects import Address

    return None if project is None else Address.parse(project)


def _revision(file: Path) -> "PolicyRevision":
    """Raises PolicyInvalid."""
    from broker.policy.revision import PolicyRevision

    return PolicyRevision.load(file.read_bytes())


def _tell(changed: "Changed", does: str) -> None:
    if changed.before == changed.after:
        typer.echo(f"Nothing changed for {changed.place}.", err=True)
    elif changed.after is None:
        typer.echo(f"Nothing {does} {changed.place} itself any more.", err=True)
    else:
        typer.echo(f"Revision {changed.after} {does} {changed.place}.", err=True)


def _record(row: "Listed", *, whole: bool) -> dict[str, Any]:
    return {
        "revision": row.id if whole else row.id[:_SHORT],
        "decides_for": list(row.live),
        "shadows": list(row.shadow),
        "created": moment(row.created_ms),
    }


def _explanation(found: "Explained", *, whole: bool) -> dict[str, Any]:
    record = found.again.model_dump(mode="json")
    told = {"same": found.same, "recorded_id": found.recorded.id}
    answer = found.answer
    if whole:
        told_answer = answer and answer.model_dump(mode="json", exclude_none=True)
        return told | record | {"answer": told_answer, "flags": [_flag(flag) for flag in found.flags]}
    rules = [
        f"{rule.id} ({rule.effect}, {rule.contribution:+}, {rule.standing})" for rule in found.again.rules
    ]
    injection = [f"{id_} {contribution:+}" for id_, contribution in found.again.injection]
    types = [f"{count} {type_}" for type_, count in found.again.types]
    redactions = [f"{each.type}: {each.how}" for each in found.again.redactions]
    lists = {"rules": rules, "injection": injection, "types": types, "redactions": redactions}
    shown = told | {name: lists.get(name, value) for name, value in record.items()}
    if found.flags:
        shown["flags"] = [_told_flag(flag) for flag in found.flags]
    return shown if answer is None else shown | told_of_answer(answer)


def _flag(flag: "FlagRow") -> dict[str, Any]:
    names = ("phase", "detector", "version", "revision", "sha256", "found")
    return {name: getattr(flag, name) for name in names} | {"at": moment(flag.at_ms)}


def _told_flag(flag: "FlagRow") -> str:
    found = ", ".join(
        f"{each['places'] or ''} {each['kind']} ({each['score']})".strip() for each in flag.found
    )
    return f"{flag.detector} in the {flag.phase}: {found}"


def told_of_answer(answer: "AnswerDecision") -> dict[str, Any]:
    """For people; each name begins with `answer`."""
    told = {
        "effect": answer.effect,
        "reason": answer.reason,
        "rule": answer.rule,
        "score": answer.score,
        "rules": list(answer.rules),
        "monitored": list(answer.monitored),
        "types": [f"{count} {type_}" for type_, count in answer.types],
        "redacted": list(answer.redacted),
        "sha256": answer.response_sha256,
    }
    return {f"answer_{name}": value for name, value in told.items()}
