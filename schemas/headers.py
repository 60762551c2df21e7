"""The names of record headers."""

CONTENT_TYPE = "content-type"
JSON = "application/json"
"""Content type of envelopes and replies."""
CANCEL = "application/vnd.headworks.cancel"
"""Content type of a record on `jobs.*` that has no value and calls off the job of its correlation id."""
CORRELATION_ID = "correlation_id"
"""The job id, in its 36-character form."""
REPLY_TO = "reply_to"
TRACEPARENT = "traceparent"
VERSION = "hw-version"
APPLICATION = "hw-application"
KEY_ID = "hw-key-id"
ISSUED_AT = "hw-issued-at"
"""Milliseconds since the Unix epoch by the client's clock, decimal."""
SIGNATURE = "hw-signature"
"""64 lower-case hexadecimal digits of HMAC-SHA256."""

STATE = "hw-state"
SEAL = "hw-seal"
DEAD_LETTER = "hw-dead-letter"
STATUS = "hw-status"
RUN = "hw-run"
TOKENS = "hw-tokens"
"""The values behind the tokens that policy put into a request: encrypted, and bound to job and run."""

HEADERS_MAX = 32
HEADER_BYTES_MAX = 4096
"""Of one header's value on an application's record."""

WEBHOOK_ID = "webhook-id"
"""Of a notice; the same in a repeat, as Standard Webhooks has it."""
