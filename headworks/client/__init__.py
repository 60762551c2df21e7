"""The SDK: submit jobs, await their results."""

from headworks.client.client import Client
from headworks.client.errors import (
    ClientClosed,
    ClientError,
    ClockWrong,
    JobInvalid,
    JobTooLarge,
    NotDelivered,
    NotOpen,
    ResultTimeout,
    TooManyOpen,
)
from headworks.client.job import Job
from headworks.client.results import (
    Answered,
    Cancelled,
    Dead,
    Expired,
    Refused,
    Result,
    ResultGone,
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
