"""What the client raises.

    HeadworksError
    └── ClientError
        ├── JobInvalid      the job cannot be an envelope: nothing was sent
        ├── JobTooLarge     its value is larger than the topic takes: nothing was sent
        ├── TooManyOpen     take results before submitting more
        ├── NotDelivered    no acknowledgement in time: submit again under the same id   (also Unavailable)
        ├── ClockWrong      the broker would take the signature for stale
        ├── ResultTimeout   the job goes on; await it again   (also a TimeoutError)
        ├── NotOpen         no such job awaits its result in this client
        └── ClientClosed    the client was closed, or its reader ended

Starting a client also raises the broker's SettingsInvalid, SecretMissing, TopicsMissing and KafkaUnavailable.
"""

from uuid import UUID

from broker.errors import HeadworksError, Unavailable


class ClientError(HeadworksError):
    code = "client_error"


class JobInvalid(ClientError):
    code = "invalid_envelope"


class JobTooLarge(ClientError):
    code = "body_too_large"


class TooManyOpen(ClientError):
    code = "too_many_open"


class NotDelivered(ClientError, Unavailable):
    """The publish was not acknowledged within its time.

    It may still arrive: a second submit of the same job under the same id is harmless.
    """

    code = "not_delivered"

    def __init__(self, job_id: UUID, cause: str) -> None:
        super().__init__(f"job {job_id} was not acknowledged ({cause}); submit it again under the same id")
        self.job_id = job_id


class ClockWrong(ClientError):
    code = "clock_wrong"


class ResultTimeout(ClientError, TimeoutError):
    code = "result_timeout"

    def __init__(self, job_id: UUID, timeout_s: float) -> None:
        super().__init__(f"no result of job {job_id} within {timeout_s:g} s; the job goes on, await it again")
        self.job_id = job_id


class NotOpen(ClientError):
    code = "not_open"

    def __init__(self, job_id: UUID) -> None:
        super().__init__(
            f"job {job_id} is not open here: its result was taken, or it was not submitted by this client; "
            "submit the same job again under its id, and its recorded reply comes again"
        )
        self.job_id = job_id


class ClientClosed(ClientError):
    code = "client_closed"
