"""Detection of prompt injection and of unsafe instructions."""

from broker.policy.injection.detector import Detection, Detector, RuleHit
from broker.policy.injection.model import ModelBroken

__all__ = ["Detection", "Detector", "ModelBroken", "RuleHit"]
