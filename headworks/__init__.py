"""Headworks: a durable, asynchronous broker for LLM jobs on Kafka. `from headworks import Client`.

The client is imported when it is first asked for, so that commands which need no Kafka start at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headworks.client import (
        Answered,
        Cancelled,
        Client,
        ClientClosed,
        ClientError,
        ClockWrong,
        Dead,
        Expired,
        Job,
        JobInvalid,
        JobTooLarge,
        NotDelivered,
        NotOpen,
        Refused,
        Result,
        ResultGone,
        ResultTimeout,
        TooManyOpen,
        Unknown,
        Unrecognized,
    )

__all__ = [
    "Answered",
    "Cancelled",
    "Client",
    "ClientClosed",
    "ClientError",
    "ClockWrong",
    "Dead",
    "Expired",
    "Job",
    "JobInvalid",
    "JobTooLarge",
    "NotDelivered",
    "NotOpen",
    "Refused",
    "Result",
    "ResultGone",
    "ResultTimeout",
    "TooManyOpen",
    "Unknown",
    "Unrecognized",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'headworks' has no attribute {name!r}")
    return getattr(importlib.import_module("headworks.client"), name)
