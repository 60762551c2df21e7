"""Can an application reach what it needs? Asked with its own credential, from where it runs.

Whether the broker knows the key shows only by a job that is answered, for a bad signature gets no reply.
"""

from broker.errors import HeadworksError, SecretMissing, SettingsInvalid, TopicsMissing
from broker.identity.credential import Credential
from broker.kafka.cluster import connect
from broker.ops.check_kafka import check_writing
from broker.ops.checks import Check, attempt
from broker.settings import KafkaSettings
from schemas import topics
from schemas.topics import Lane


async def diagnose_client(kafka: KafkaSettings, credential: str | None) -> list[Check]:
    """`credential` is the text of HEADWORKS_CREDENTIAL, None where it is not set."""
    parsed = _parse(credential)
    reached = await attempt("kafka", "mend HEADWORKS_KAFKA__BOOTSTRAP_SERVERS", lambda: _reach(kafka))
    if not reached.ok:
        return [_told(parsed), reached]
    found = [_told(parsed), reached]
    if isinstance(parsed, Credential):
        fix = "ask an operator for `headworks topics apply`, or for access to these topics"
        found.append(await attempt("topics", fix, lambda: _topics(kafka, parsed.application)))
    return [*found, *await check_writing(kafka)]


def _parse(credential: str | None) -> Credential | HeadworksError:
    if credential is None:
        return SecretMissing("HEADWORKS_CREDENTIAL is not set")
    try:
        return Credential.parse(credential)
    except SettingsInvalid as error:
        return error


def _told(credential: Credential | HeadworksError) -> Check:
    name = "credential"
    if isinstance(credential, HeadworksError):
        return Check.failed(name, credential, "ask an operator for `headworks keys create APPLICATION`")
    return Check.passed(name, f"key {credential.key_id} of application {credential.application}, well-formed")


async def _reach(kafka: KafkaSettings) -> str:
    async with connect(kafka) as cluster:
        brokers = await cluster.brokers()
    return f"{brokers} broker{'' if brokers == 1 else 's'} at {kafka.bootstrap_servers}"


async def _topics(kafka: KafkaSettings, application: str) -> str:
    async with connect(kafka) as cluster:
        found = await cluster.topics()
    replies = topics.replies(application)
    lanes = [lane for lane in Lane if topics.jobs(lane) in found or topics.jobs(lane, application) in found]
    if replies not in found:
        raise TopicsMissing(f"topic {replies} is not there for this application, so no reply could be sent")
    if not lanes:
        raise TopicsMissing("there is no topic to publish jobs on")
    return f"{replies} with {found[replies].partitions} partitions; lanes {', '.join(lanes)}"
