import json
from typing import Any

import pytest
from faststream.asgi import AsgiFastStream

from broker.telemetry.http import asgi_routes
from broker.telemetry.metrics import Metrics


async def get(path: str, metrics: Metrics, causes: list[str]) -> tuple[int, dict[str, str], bytes]:
    """Ask as a server would: status, headers, body."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    app = AsgiFastStream(asgi_routes=asgi_routes(lambda: causes, metrics))
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    headers = {name.decode().lower(): text.decode() for name, text in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


async def test_a_process_that_answers_is_alive_whatever_it_lacks(metrics: Metrics) -> None:
    status, headers, body = await get("/healthz", metrics, ["Kafka is away"])

    assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", {"alive": True})


async def test_ready_when_nothing_stands_in_the_way(metrics: Metrics) -> None:
    status, _, body = await get("/readyz", metrics, [])

    assert (status, json.loads(body)) == (200, {"ready": True, "causes": []})


async def test_not_ready_and_why(metrics: Metrics) -> None:
    status, headers, body = await get("/readyz", metrics, ["admit: stalled"])

    assert (status, headers["content-type"]) == (503, "application/json")
    assert json.loads(body) == {"ready": False, "causes": ["admit: stalled"]}


async def test_metrics_in_the_text_format(metrics: Metrics) -> None:
    metrics.job("admit", "passed")

    status, headers, body = await get("/metrics", metrics, [])

    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert b'headworks_jobs_total{outcome="passed",stage="admit"} 1.0' in body
