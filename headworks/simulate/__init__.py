"""A simulated provider: a real HTTP server that speaks OpenAI's API and says in each answer what it is."""

from headworks.simulate.behaviour import (
    Behaviour,
    CannedAnswer,
    Fault,
    FixedLatency,
    LognormalLatency,
    UniformLatency,
    parse_latency,
)
from headworks.simulate.calls import Counts
from headworks.simulate.server import SimulatedProvider

__all__ = [
    "Behaviour",
    "CannedAnswer",
    "Counts",
    "Fault",
    "FixedLatency",
    "LognormalLatency",
    "SimulatedProvider",
    "UniformLatency",
    "parse_latency",
]
