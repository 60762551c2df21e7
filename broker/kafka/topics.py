"""Bring a cluster's topics to what `broker.kafka.topic_plan` says, or tell in what they differ."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from broker.errors import TopicsMissing
from broker.kafka.cluster import Cluster, NewTopicSpec, TopicState, connect
from broker.kafka.topic_plan import (
    Difference,
    Fault,
    Plan,
    compare,
    fit,
    is_outcomes,
    plan,
    walled_applications,
)
from broker.settings import KafkaSettings

_LEADERS_TIMEOUT_S = 30.0


class Report(NamedTuple):
    """What `apply` did, in words, and what it left."""

    done: list[str]
    left: list[Difference]


@dataclass(slots=True)
class Work:
    """How far `apply` has come, in words: known also where it breaks off."""

    done: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    """What was under way when it broke off, and may be done or not."""

    @contextmanager
    def step(self, lines: Sequence[str]) -> Iterator[None]:
        self.begun = [*lines]
        yield
        self.done += lines
        self.begun = []


async def apply(
    settings: KafkaSettings,
    applications: Iterable[str],
    walled: Iterable[str] = (),
    *,
    grow_outcomes: bool = False,
    work: Work | None = None,
) -> Report:
    """Make the topics that are missing, mend those that differ, and wait until each partition has a leader.

    Applying again changes nothing. Partitions are added to `outcomes.*` only with `grow_outcomes`: it is safe
    when no job is under way. `work` is kept up to date. Raises KafkaUnavailable, SettingsInvalid.
    """
    async with connect(settings) as cluster:
        planned = await _plan_with_walls(cluster, settings, applications, walled)
        return await _carry_out(cluster, settings, planned, work or Work(), grow_outcomes=grow_outcomes)


async def apply_application(settings: KafkaSettings, application: str, *, walled: bool) -> Report:
    """The same for the topics of one application alone; `walled` gives it topics of its own to publish on."""
    planned = plan(settings, [application], [application] if walled else [])
    own = {name: spec for name, spec in planned.items() if name.endswith(f".{application}")}
    async with connect(settings) as cluster:
        return await _carry_out(cluster, settings, own, Work(), grow_outcomes=False)


async def _carry_out(
    cluster: Cluster, settings: KafkaSettings, planned: Plan, work: Work, *, grow_outcomes: bool
) -> Report:
    fitted, differences = await _survey(cluster, planned)
    mendable = [d for d in differences if _mendable(d, settings, grow_outcomes=grow_outcomes)]
    await _create(cluster, fitted, mendable, work)
    await _mend_settings(cluster, fitted, mendable, work)
    await _add_partitions(cluster, fitted, mendable, work)
    await cluster.wait_for_leaders({d.topic: 0 for d in differences}, _LEADERS_TIMEOUT_S)
    left = [d for d in differences if d not in mendable and d.fault is not Fault.LEADERLESS]
    return Report([_told(d, fitted) for d in mendable], left)


def _mendable(difference: Difference, settings: KafkaSettings, *, grow_outcomes: bool) -> bool:
    if difference.fault is Fault.MISSING:
        return True
    if settings.append_time == "receipt":  # the embedded broker can alter nothing: see broker.kafka.embedded
        return False
    if difference.fault is Fault.PARTITIONS:
        return grow_outcomes or not is_outcomes(difference.topic)
    return difference.fault is Fault.SETTING


def _told(difference: Difference, planned: Plan) -> str:
    if difference.fault is Fault.MISSING:
        return f"made {difference.topic} ({planned[difference.topic].partitions} partitions)"
    return f"{difference.topic}: {difference.name} is now {difference.wanted}, was {difference.found}"


async def _create(cluster: Cluster, planned: Plan, differences: list[Difference], work: Work) -> None:
    missing = [d for d in differences if d.fault is Fault.MISSING]
    if missing:
        specs = [planned[d.topic] for d in missing]
        with work.step([_told(d, planned) for d in missing]):
            await cluster.create(specs)
        await cluster.wait_for_leaders({spec.name: spec.partitions for spec in specs}, _LEADERS_TIMEOUT_S)


async def _mend_settings(cluster: Cluster, planned: Plan, differences: list[Difference], work: Work) -> None:
    for topic, of_topic in _by_topic(differences, Fault.SETTING).items():
        found = (await cluster.settings([topic]))[topic]
        own = {name: setting.value or "" for name, setting in found.items() if setting.own}
        with work.step([_told(d, planned) for d in of_topic]):
            await cluster.set_settings(topic, own | dict(planned[topic].settings))


async def _add_partitions(cluster: Cluster, planned: Plan, differences: list[Difference], work: Work) -> None:
    short = _by_topic(differences, Fault.PARTITIONS)
    for topic, of_topic in short.items():
        with work.step([_told(d, planned) for d in of_topic]):
            await cluster.add_partitions(topic, planned[topic].partitions)
    await cluster.wait_for_leaders({name: planned[name].partitions for name in short}, _LEADERS_TIMEOUT_S)


def _by_topic(differences: list[Difference], fault: Fault) -> dict[str, list[Difference]]:
    found: dict[str, list[Difference]] = {}
    for difference in sorted((d for d in differences if d.fault is fault), key=lambda d: d.topic):
        found.setdefault(difference.topic, []).append(difference)
    return found


async def check(
    settings: KafkaSettings, applications: Iterable[str], walled: Iterable[str] = ()
) -> list[Difference]:
    """Raises KafkaUnavailable, SettingsInvalid."""
    async with connect(settings) as cluster:
        planned = await _plan_with_walls(cluster, settings, applications, walled)
        return (await _survey(cluster, planned))[1]


async def overview(
    settings: KafkaSettings, applications: Iterable[str]
) -> list[tuple[NewTopicSpec, TopicState | None]]:
    """Each topic as planned, and as it stands; None where it is missing. Raises KafkaUnavailable."""
    async with connect(settings) as cluster:
        planned = await _plan_with_walls(cluster, settings, applications, ())
        states = await _states(cluster, planned)
        return [(spec, states.get(name)) for name, spec in fit(planned, states).items()]


async def require(settings: KafkaSettings) -> None:
    """What workers ask for before they start: that the work topics are there and stamp the append time.

    Raises TopicsMissing, KafkaUnavailable, SettingsInvalid.
    """
    needed = [d for d in await check(settings, ()) if d.stops_work]
    if needed:
        shown = "; ".join(str(difference) for difference in needed[:3])
        more = f"; and {len(needed) - 3} more" if len(needed) > 3 else ""
        raise TopicsMissing(f"{shown}{more}; `headworks topics apply` mends this")


async def _plan_with_walls(
    cluster: Cluster, settings: KafkaSettings, applications: Iterable[str], walled: Iterable[str]
) -> Plan:
    """The plan, with the walls that stand already."""
    return plan(settings, applications, sorted({*walled, *walled_applications(await cluster.topics())}))


async def _survey(cluster: Cluster, planned: Plan) -> tuple[Plan, list[Difference]]:
    """The plan as it fits what is there, and the differences from it."""
    states = await _states(cluster, planned)
    fitted = fit(planned, states)
    return fitted, compare(fitted, states)


async def _states(cluster: Cluster, planned: Plan) -> dict[str, TopicState]:
    found = await cluster.topics()
    settings = await cluster.settings(found.keys() & planned.keys())
    return {name: found[name]._replace(settings=own) for name, own in settings.items()}
