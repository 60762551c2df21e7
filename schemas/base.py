"""The bases of everything on the wire."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A record that the broker or a client owns whole: frozen, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64")


class Extensible(Record):
    """A record that the broker writes and clients read. Fields may be added to it within its version, so a
    reader passes over those that it does not know.
    """

    model_config = ConfigDict(extra="ignore")


class Foreign(BaseModel):
    """A part whose shape somebody else owns (a provider): frozen, unknown fields kept."""

    model_config = ConfigDict(frozen=True, extra="allow")
