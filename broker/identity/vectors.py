"""Writes the test vectors for clients in other languages: `python -m broker.identity.vectors`.

They are made from constants alone, so that they change only when the format does.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

from broker.identity.credential import Credential
from broker.identity.signing import SignedFields, canonical, sign
from schemas import headers

FILE: Final = Path(__file__).parent.parent.parent / "docs" / "vectors" / "envelope.json"
CREDENTIAL: Final = Credential("reports", "0a1b2c3d4e5f6071", bytes(range(32)))
ISSUED_AT: Final = "1767225600000"
FRESH_ID: Final = "019b76da-a800-7d3f-8a5b-1c2d3e4f5061"

HELLO: Final = (
    '{"version":1,"endpoint":"/v1/chat/completions","request":{"model":"gpt-4o-mini",'
    '"messages":[{"role":"user","content":"Say hello."}],"max_tokens":20}}'
)
UNICODE: Final = (
    '{ "version": 1, "endpoint": "/v1/embeddings", "tags": {"department": "Straßenbau"},\n'
    '  "request": {"model": "text-embedding-3-small", "input": "Schütz, 水門, \\u6c34, 🚦"} }\n'
)


class Case(NamedTuple):
    name: str
    topic: str = "jobs.standard"
    reply_to: str = "replies.reports/3/worker-1"
    job_id: str = FRESH_ID
    value: str = HELLO
    content_type: str = headers.JSON


VALID: Final = (
    Case("with partition and instance"),
    Case("with partition", reply_to="replies.reports/3"),
    Case("with a topic alone", reply_to="replies.reports.nightly"),
    Case("without a reply", reply_to=""),
    Case("on the application's own topic", topic="jobs.bulk.reports"),
    Case("that calls a job off", topic="jobs.interactive", value="", content_type=headers.CANCEL),
    Case("not ASCII, with spaces and a line's end", value=UNICODE),
)
DERIVED: Final = (("reports", ("invoice-2026-01-4711",)), ("reports", ("Schütz 1", "", "2")), ("a", ()))
PARTITION_COUNTS: Final = (1, 16, 1000)


def document() -> dict[str, Any]:
    derived = [_derived(application, parts) for application, parts in DERIVED]
    cases = (*VALID, Case("with a derived job id", job_id=derived[0]["job_id"]))
    ids = (FRESH_ID, *(one["job_id"] for one in derived))
    return {
        "about": "Test vectors for docs/envelope.md. Everyone knows the secret: use it for nothing else.",
        "credential": CREDENTIAL.reveal(),
        "secret_hex": CREDENTIAL.secret.hex(),
        "valid": [_record(case) for case in cases],
        "invalid": _invalid(),
        "derived_job_ids": derived,
        "reply_partitions": [_placed(job_id, count) for job_id in ids for count in PARTITION_COUNTS],
    }


def _record(case: Case) -> dict[str, Any]:
    value = case.value.encode()
    fields = SignedFields(
        version="1",
        topic=case.topic,
        application=CREDENTIAL.application,
        key_id=CREDENTIAL.key_id,
        content_type=case.content_type,
        reply_to=case.reply_to,
        issued_at=ISSUED_AT,
        job_id=case.job_id,
        value_sha256=hashlib.sha256(value).digest(),
    )
    return {
        "name": case.name,
        "topic": case.topic,
        "key_hex": case.job_id.replace("-", ""),
        "headers": {
            headers.VERSION: fields.version,
            headers.APPLICATION: fields.application,
            headers.KEY_ID: fields.key_id,
            headers.CONTENT_TYPE: fields.content_type,
            headers.CORRELATION_ID: fields.job_id,
            headers.REPLY_TO: fields.reply_to,
            headers.ISSUED_AT: fields.issued_at,
            headers.SIGNATURE: sign(CREDENTIAL.secret, fields),
        },
        "value": case.value,
        "value_sha256": fields.value_sha256.hex(),
        "canonical_hex": canonical(fields).hex(),
    }


def _invalid() -> list[dict[str, Any]]:
    """The first valid record, each time with one thing altered after it was signed."""
    signature = _record(VALID[0])["headers"][headers.SIGNATURE]
    return [
        _altered("moved to another topic", topic="jobs.interactive"),
        _altered("with another value", value=HELLO.replace("hello", "hallo")),
        _altered("with the same JSON laid out otherwise", value=HELLO.replace(",", ", ")),
        _altered("with another reply_to", {headers.REPLY_TO: "replies.reports/4/worker-1"}),
        _altered("with another job id", {headers.CORRELATION_ID: FRESH_ID.replace("019b", "019c")}),
        _altered("with another time of issue", {headers.ISSUED_AT: "1767225600001"}),
        _altered("with the signature in upper case", {headers.SIGNATURE: signature.upper()}),
        _altered("of another application", {headers.APPLICATION: "billing"}, because="unknown_key"),
    ]


def _altered(
    name: str, changed: dict[str, str] | None = None, *, because: str = "bad_signature", **parts: str
) -> dict[str, Any]:
    record = _record(VALID[0])
    kept = {part: record[part] for part in ("topic", "key_hex", "value")}
    return {"name": name, "because": because, **kept, **parts, "headers": record["headers"] | (changed or {})}


def _derived(application: str, parts: tuple[str, ...]) -> dict[str, Any]:
    hashed = b"".join(
        len(part.encode()).to_bytes(4, "big") + part.encode()
        for part in ("headworks.job", application, *parts)
    )
    octets = bytearray(hashlib.sha256(hashed).digest()[:16])
    octets[6] = octets[6] & 0x0F | 0x80
    octets[8] = octets[8] & 0x3F | 0x80
    digits = octets.hex()
    job_id = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return {"application": application, "parts": list(parts), "hashed_hex": hashed.hex(), "job_id": job_id}


def _placed(job_id: str, partitions: int) -> dict[str, Any]:
    partition = crc32(bytes.fromhex(job_id.replace("-", ""))) % partitions
    return {"job_id": job_id, "partitions": partitions, "partition": partition}


def text() -> str:
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
