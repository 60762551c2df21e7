"""How the provider behaves: never quite well, and at times much worse. Probes it answers at once."""

from collections.abc import Mapping
from typing import Any

from tests.crucible.traffic import PROBE

_PROBES: Mapping[str, Any] = {"canned": [{"contains": PROBE, "content": "Deep enough."}]}
ORDINARY: Mapping[str, Any] = {
    **_PROBES,
    "latency": {"kind": "lognormal", "p50_ms": 150, "p99_ms": 1_500},
    "slow_first_byte_ms": 2_000,
    "error_rate": 0.03,
    "rate_limited_rate": 0.02,
    "retry_after_s": 1,
    "hang_rate": 0.01,
    "broken_json_rate": 0.01,
    "drop_before_answer_rate": 0.02,
    "drop_in_body_rate": 0.01,
    "missing_usage_rate": 0.01,
    "slow_first_byte_rate": 0.02,
}
CALM: Mapping[str, Any] = {**_PROBES, "latency": {"kind": "fixed", "ms": 50}}
WORSE: Mapping[str, Mapping[str, Any]] = {
    "errors": {**_PROBES, "latency": {"kind": "fixed", "ms": 20}, "error_rate": 1},
    "hangs": {**_PROBES, "hang_rate": 0.5, "drop_before_answer_rate": 0.3},
    "limits": {**_PROBES, "latency": {"kind": "fixed", "ms": 50}, "requests_per_second_max": 8},
}
