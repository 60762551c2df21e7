"""What a worker answers over HTTP: is it alive, is it ready, and its metrics."""

from collections.abc import Callable, Sequence

import orjson
from faststream.asgi import AsgiResponse
from faststream.asgi.types import ASGIApp, Receive, Scope, Send
from prometheus_client import make_asgi_app

from broker.telemetry.metrics import Metrics

_JSON = {"content-type": "application/json"}


def asgi_routes(troubles: Callable[[], list[str]], metrics: Metrics) -> Sequence[tuple[str, ASGIApp]]:
    """`troubles` names what keeps the process from being ready: none, and `/readyz` answers 200, else 503."""

    async def alive(scope: Scope, receive: Receive, send: Send) -> None:
        await AsgiResponse(b'{"alive":true}', 200, _JSON)(scope, receive, send)

    async def ready(scope: Scope, receive: Receive, send: Send) -> None:
        causes = troubles()
        body = orjson.dumps({"ready": not causes, "causes": causes})
        await AsgiResponse(body, 503 if causes else 200, _JSON)(scope, receive, send)

    return [("/healthz", alive), ("/readyz", ready), ("/metrics", make_asgi_app(metrics.registry))]
