"""A reviewer lets a job go on, as far as the policy that decides by now would.

A job may wait for days, and the policy may have been tightened meanwhile. What it denies now no reviewer
approves; nor does a job go on as it was held where other data would now be taken out of it, or other regions
be allowed. To loosen a policy lets nothing go that waits: a reviewer decides.
"""

from broker.errors import Conflict
from broker.ops import jobs, policies, reviews
from broker.ops.changes import act
from broker.ops.explain import job_of, read_value
from broker.policy.dlp.errors import TooMuchFound
from broker.policy.judge import Judge
from broker.policy.revision import PolicyRevision
from broker.providers.routes import Routes
from broker.settings import Settings
from broker.store.database import Database
from broker.store.reviews import Review


async def approve(settings: Settings, database: Database, prefix: str, why: str) -> Review:
    """Raises NotFound, Conflict, RoleMissing, SettingsInvalid as `reviews.rule` does; Conflict too where the
    policy of now stands against it, NotFound where Kafka no longer has the envelope to see that; Unavailable.
    """
    review = await reviews.get(database, prefix)
    project_id = review.row.project_id
    async with database.connect() as connection:
        live = await policies.live_id(connection, project_id)
    if live is not None and live != review.row.revision:
        await _check(settings, database, review, live)
    async with act(database) as connection:
        if await policies.live_id(connection, project_id) != live:
            raise Conflict("the policy was changed just now: look at the job again, and decide then")
        return await reviews.rule(connection, review, "approved", why)


async def _check(settings: Settings, database: Database, review: Review, live: str) -> None:
    records = await jobs.show(database, review.row.job_id, review.application)
    job = job_of(records, await read_value(settings, records), ())
    job = job._replace(regions=Routes(settings.providers).regions(str(job.envelope.request["model"])))
    then, now = [
        Judge(PolicyRevision.load((await policies.show(database, id_)).text))
        for id_ in (review.row.revision, live)
    ]
    named = f"the policy that decides by now ({live[:12]})"
    try:
        held, again = then.record(job), now.record(job)
    except TooMuchFound as error:
        raise Conflict(f"{named} cannot judge it: {error}") from None
    if again.effect == "deny":
        raise Conflict(f"{named} denies it, rule {again.rule}: no reviewer can let it pass")
    if (held.redactions, held.regions) != (again.redactions, again.regions):
        raise Conflict(
            f"{named} takes out other data or allows other regions than the one that held it: deny it, and "
            "have it sent again"
        )
