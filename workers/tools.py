"""What every stage works with."""

from dataclasses import dataclass

from broker.kafka.producing import Producer
from broker.records import Sealer
from broker.telemetry.metrics import Metrics
from workers.outlets import Clock, Outlets
from workers.tombstones import Tombstones


@dataclass(frozen=True)
class Tools:
    producer: Producer
    sealer: Sealer
    outlets: Outlets
    clock: Clock
    metrics: Metrics
    tombstones: Tombstones
