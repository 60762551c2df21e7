import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from broker.errors import DatabaseUnavailable, RedisDamaged
from broker.providers.provider import Answer, Failed, Rejected, Result
from broker.telemetry.metrics import LABELS_MAX, Children, Metrics
from schemas.reasons import Disbelief, Failure, Refusal, Unauthentic
from schemas.topics import Lane, RetryDelay


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"headworks_{name}", labels)


def test_two_processes_worth_of_metrics_do_not_meet(metrics: Metrics) -> None:
    Metrics().takeover()

    assert value(metrics, "takeovers_total") == 0


def test_each_count_stands_under_its_labels(metrics: Metrics) -> None:
    metrics.job("admit", "passed")
    metrics.job("admit", "passed")
    metrics.hold("granted", 3)
    metrics.unauthentic(Unauthentic.STALE)
    metrics.dead_letter("dispatch", Failure.TIMEOUT)
    metrics.retry(RetryDelay.HALF_MINUTE)
    metrics.takeover()
    metrics.undeliverable()
    metrics.gate_closed()
    metrics.alarm("offset_out_of_range")
    metrics.parked(4)

    assert value(metrics, "jobs_total", stage="admit", outcome="passed") == 2
    assert value(metrics, "holds_total", verdict="granted") == 3
    assert value(metrics, "unauthentic_total", reason="stale") == 1
    assert value(metrics, "dead_letters_total", stage="dispatch", reason="timeout") == 1
    assert value(metrics, "retries_total", delay="30s") == 1
    assert value(metrics, "takeovers_total") == 1
    assert value(metrics, "undeliverable_replies_total") == 1
    assert value(metrics, "gate_closed_total") == 1
    assert value(metrics, "alarms_total", code="offset_out_of_range") == 1
    assert value(metrics, "parked_jobs") == 4


def test_a_jobs_age_at_its_end_is_in_seconds(metrics: Metrics) -> None:
    metrics.ended(Lane.BULK, "answered", 1_500)

    assert value(metrics, "job_seconds_sum", lane="bulk", kind="answered") == 1.5
    assert value(metrics, "job_seconds_count", lane="bulk", kind="answered") == 1


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (Answer(200, b"{}", Disbelief.USAGE_MISSING, "00", 1), "answered"),
        (Rejected(Refusal.PROVIDER_REFUSED, 400, 1), "provider_refused"),
        (Failed(Failure.RATE_LIMITED, False, 1), "rate_limited"),
    ],
)
def test_a_call_is_counted_by_what_came_of_it(metrics: Metrics, result: Result, verdict: str) -> None:
    metrics.provider_call("openai", result)

    assert value(metrics, "provider_calls_total", target="openai", verdict=verdict) == 1


def test_a_call_is_in_flight_until_it_ends_in_whatever_way(metrics: Metrics) -> None:
    with metrics.calling("openai"), metrics.calling("openai"):
        assert value(metrics, "provider_in_flight", target="openai") == 2
    with pytest.raises(ZeroDivisionError), metrics.calling("openai"):
        raise ZeroDivisionError

    assert value(metrics, "provider_in_flight", target="openai") == 0
    assert value(metrics, "provider_seconds_count", target="openai") == 3


async def test_a_stages_batches_are_timed_also_when_they_fail(metrics: Metrics) -> None:
    async def handle(records: list[int]) -> int:
        return 10 // len(records)

    timed = metrics.timed("settle", handle)

    assert await timed([1, 2]) == 5
    with pytest.raises(ZeroDivisionError):
        await timed([])
    assert value(metrics, "stage_seconds_count", stage="settle") == 2


def test_what_is_watched_is_asked_at_each_scrape(metrics: Metrics) -> None:
    facts = {"in_use": 1, "backlog": 2, "lag": 3}
    metrics.watch("admit", lambda: facts["in_use"], lambda: facts["backlog"], {"bulk": lambda: facts["lag"]})
    facts.update(in_use=10, backlog=20, lag=30)

    assert value(metrics, "in_flight", stage="admit") == 10
    assert value(metrics, "backlog", stage="admit") == 20
    assert value(metrics, "lag", stage="admit", lane="bulk") == 30


def test_the_same_trouble_is_counted_always_and_logged_once(metrics: Metrics) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            metrics.trouble("settle", DatabaseUnavailable("away"))
        metrics.trouble("settle", ValueError("x"))

    assert value(metrics, "troubles_total", stage="settle", code="database_unavailable") == 3
    assert value(metrics, "troubles_total", stage="settle", code="internal_error") == 1
    assert [(log["event"], log["code"]) for log in logs] == [
        ("trouble", "database_unavailable"),
        ("trouble", "internal_error"),
    ]


def test_a_charge_by_the_hold_is_counted_always_and_logged_once(metrics: Metrics) -> None:
    with capture_logs() as logs:
        for _ in range(3):
            metrics.estimated("openai", Disbelief.USAGE_MISSING.value)
        metrics.estimated("own", Disbelief.USAGE_MISSING.value)

    assert value(metrics, "estimated_charges_total", target="openai", reason="usage_missing") == 3
    assert value(metrics, "estimated_charges_total", target="own", reason="usage_missing") == 1
    assert [(log["event"], log["target"], log["code"]) for log in logs] == [
        ("charge.estimated", "openai", "usage_missing"),
        ("charge.estimated", "own", "usage_missing"),
    ]


def test_labels_cannot_grow_without_bound() -> None:
    made: list[tuple[str, ...]] = []

    def make(*labels: str) -> tuple[str, ...]:
        made.append(labels)
        return labels

    children = Children(make)
    for number in range(LABELS_MAX + 10):
        assert children["admit", str(number)] in {("admit", str(number)), ("other", "other")}

    assert len(set(made)) == LABELS_MAX + 1
    assert children["admit", "0"] == ("admit", "0")


def test_every_metric_is_named_and_explained(metrics: Metrics) -> None:
    page = generate_latest(metrics.registry).decode()
    families = {line.split()[2] for line in page.splitlines() if line.startswith("# HELP")}

    assert all(name.startswith("headworks_") for name in families)


def test_a_trouble_that_time_does_not_mend_is_an_alarm(metrics: Metrics) -> None:
    metrics.trouble("reserve", RedisDamaged("a key of the gate is of another type"))
    metrics.trouble("reserve", DatabaseUnavailable("away"))

    assert value(metrics, "troubles_total", stage="reserve", code="redis_damaged") == 1
    assert value(metrics, "alarms_total", code="redis_damaged") == 1
    assert value(metrics, "alarms_total", code="database_unavailable") is None
