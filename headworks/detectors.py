"""For whoever writes a detector to plug in: what it is given and what it gives back (docs/policy.md)."""

from broker.plugins.contract import Detector, Finding, Mark, Passage

__all__ = ["Detector", "Finding", "Mark", "Passage"]
