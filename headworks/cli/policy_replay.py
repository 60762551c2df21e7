"""What `headworks policy diff` compares: two revisions, on the jobs of a file or of a topic."""

import re
from pathlib import Path

import typer

from broker.errors import PolicyInvalid
from broker.ops import policies, retained
from broker.policy.injection import Detector
from broker.policy.revision import PolicyRevision
from broker.providers.routes import Routes
from broker.settings import Settings
from headworks.batch.lines import numbered
from headworks.cli import output
from headworks.cli.policy_eval import opened
from headworks.trial.progress import progress
from headworks.trial.replay import Outcome, Remembering, Side, Whose, replay
from headworks.trial.retained import replay_topic
from headworks.trial.scan import LINE_BYTES_MAX


def revision(named: str) -> PolicyRevision:
    """Of a file, or of the beginning of an id that was handed in. Raises PolicyInvalid, whose text names the
    file too; NotFound, Conflict, DatabaseUnavailable.
    """
    file = Path(named)
    if file.is_file():
        try:
            return PolicyRevision.load(file.read_bytes())
        except PolicyInvalid as error:
            raise PolicyInvalid(f"{error.reason} (in {named})", error.line, error.rule) from None
    if re.fullmatch(f"[0-9a-f]{{{policies.PREFIX_MIN},64}}", named) is None:
        raise typer.BadParameter(f"{named}: there is no such file, and no revision has such an id")
    return PolicyRevision.load(output.run(_kept(named)))


async def _kept(prefix: str) -> str:
    async with output.opened(Settings.load()) as database:
        return (await policies.show(database, prefix)).text


def of_file(
    file: str,
    before: PolicyRevision,
    after: PolicyRevision,
    whose: tuple[str, str, str, str, tuple[str, ...]],
) -> Outcome:
    outcome = Outcome()
    with opened(file) as source, progress("jobs") as show:
        for replayed in replay(numbered(source, LINE_BYTES_MAX), *_sides(before, after), Whose(*whose)):
            outcome.add(replayed)
            show(replayed.line)
    return outcome


def of_topic(topic: str, per_partition: int, before: PolicyRevision, after: PolicyRevision) -> Outcome:
    """Raises SettingsInvalid, NotFound, Unavailable."""
    return output.run(_of_topic(topic, per_partition, before, after))


async def _of_topic(topic: str, per_partition: int, before: PolicyRevision, after: PolicyRevision) -> Outcome:
    settings = Settings.load()
    outcome, routes = Outcome(), Routes(settings.providers)
    async with output.opened(settings) as database:
        batches = retained.latest(settings, database, topic, per_partition)
        with progress("jobs") as show:
            async for replayed in replay_topic(batches, routes, *_sides(before, after)):
                outcome.add(replayed)
                show(replayed.line)
    return outcome


def _sides(before: PolicyRevision, after: PolicyRevision) -> tuple[Side, Side]:
    injection = Remembering(Detector.load())
    return Side(before, injection), Side(after, injection)
