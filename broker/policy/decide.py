"""The seam of policy: one decision a job, at ADMIT, before any money moves."""

from typing import Protocol

from broker.identity.directory import Project
from schemas.envelope import Envelope
from schemas.state import Decision


class Policy(Protocol):
    def decide(self, envelope: Envelope, model: str, project: Project) -> Decision:
        """Pure: the same envelope under the same revision is decided the same way."""
        ...


class Unrestricted:
    """No rules: whatever a project's settings allow may pass."""

    revision = "unrestricted"

    def decide(self, envelope: Envelope, model: str, project: Project) -> Decision:
        return Decision(id="unrestricted", revision=self.revision, effect="allow")
