import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from broker.errors import DatabaseUnavailable
from broker.settings import LogSettings
from broker.telemetry.log import WITHHELD, configure

PROMPT = "hush, this is a prompt"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Lines:
    """What was written to standard error, as JSON lines."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""

    def read(self) -> list[dict[str, Any]]:
        captured = self._capsys.readouterr()
        assert captured.out == ""
        self.text = captured.err
        return [json.loads(line) for line in captured.err.splitlines()]

    def one(self) -> dict[str, Any]:
        (line,) = self.read()
        return line


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys)


def logger(
    level: Literal["debug", "info", "warning", "error"] = "info",
    form: Literal["auto", "console", "json"] = "json",
) -> structlog.stdlib.BoundLogger:
    configure(LogSettings(level=level, format=form))
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("headworks.test")
    return bound


def test_an_event_is_one_line_of_json_with_its_fields(lines: Lines) -> None:
    logger().info("worker_started", pools=["admit"], drained=True)

    line = lines.one()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "worker_started",
        "level": "info",
        "logger": "headworks.test",
        "pools": ["admit"],
        "drained": True,
    }


def test_without_a_terminal_auto_is_json(lines: Lines) -> None:
    logger(form="auto").info("alarm")

    assert lines.one()["event"] == "alarm"


def test_people_read_the_wording(capsys: pytest.CaptureFixture[str]) -> None:
    logger(form="console").info("worker_started", pools=["admit"])

    shown = capsys.readouterr().err
    assert "Worker started; it takes jobs" in shown
    assert "pools=['admit']" in shown


def test_below_the_level_nothing_is_said(lines: Lines) -> None:
    logger("warning").info("worker_started")

    assert lines.read() == []


def test_configured_again_it_does_not_say_things_twice(lines: Lines) -> None:
    logger()
    logger().info("alarm")

    assert len(lines.read()) == 1


@pytest.mark.parametrize(
    "name",
    [
        "prompt",
        "messages",
        "api_key",
        "password",
        "Authorization",
        "seal_key",
        "hw-signature",
        "response_body",
    ],
)
def test_a_field_that_is_named_like_a_secret_or_a_prompt_is_blanked(lines: Lines, name: str) -> None:
    logger().info("alarm", **{name: PROMPT}, outer={"inner": {name: PROMPT}})

    line = lines.one()
    assert line[name] == line["outer"]["inner"][name] == WITHHELD
    assert PROMPT not in lines.text


def test_counts_ids_and_digests_are_no_secrets(lines: Lines) -> None:
    fields = {
        "input_tokens": 7,
        "key_id": "k1",
        "value_sha256": "00",
        "keys": 3,
        "body_bytes": 9,
        "content_type": "x",
    }
    logger().info("alarm", **fields)

    assert fields.items() <= lines.one().items()


def raised(error: ValueError | DatabaseUnavailable) -> Exception:
    try:
        try:
            raise KeyError(PROMPT)
        except KeyError as cause:
            raise error from cause
    except (ValueError, DatabaseUnavailable) as caught:
        return caught


def test_of_a_foreign_error_type_and_place_are_told_and_not_its_text(lines: Lines) -> None:
    logger().error("trouble", exc_info=raised(ValueError(PROMPT)))

    line = lines.one()
    assert (line["error"], line["caused_by"]) == ("ValueError", ["KeyError"])
    assert "test_log.py" in line["trace"][0]
    assert PROMPT not in lines.text


def test_of_an_error_of_ours_the_text_is_told(lines: Lines) -> None:
    logger().error("trouble", exc_info=raised(DatabaseUnavailable("start PostgreSQL")))

    assert lines.one()["error"] == "DatabaseUnavailable: start PostgreSQL"
    assert PROMPT not in lines.text


def test_an_error_under_way_is_found(lines: Lines) -> None:
    log = logger()
    try:
        raise ValueError(PROMPT)
    except ValueError:
        log.exception("trouble")

    assert lines.one()["error"] == "ValueError"


def test_without_an_error_none_is_told(lines: Lines) -> None:
    logger().error("trouble", exc_info=True)

    assert "error" not in lines.one()


@pytest.mark.parametrize(
    "name", ["aiokafka.conn", "faststream", "aiohttp.client", "sqlalchemy.engine", "redis"]
)
def test_libraries_speak_from_warning_on_and_in_the_same_form(lines: Lines, name: str) -> None:
    logger("debug")

    logging.getLogger(name).info("chatter")
    logging.getLogger(name).warning("node %s is away", 1)

    line = lines.one()
    assert (line["event"], line["level"], line["logger"]) == ("node 1 is away", "warning", name)


def test_libraries_are_no_louder_than_the_level(lines: Lines) -> None:
    logger("error")

    logging.getLogger("aiokafka").warning("node is away")

    assert lines.read() == []


def test_what_the_client_adds_stands_in_fields(lines: Lines) -> None:
    logger()

    logging.getLogger("headworks.client").error("replies_lost", extra={"partition": "3", "secret": PROMPT})

    line = lines.one()
    assert (line["partition"], line["secret"]) == ("3", WITHHELD)


def test_asyncios_complaint_does_not_tell_what_a_task_died_of(lines: Lines) -> None:
    async def die() -> None:
        raise ValueError(PROMPT)

    async def abandon() -> None:
        task = asyncio.create_task(die())
        await asyncio.wait({task})

    logger()
    asyncio.run(abandon(), debug=False)

    line = lines.one()
    assert (line["event"], line["error"]) == ("Task exception was never retrieved", "ValueError")
    assert PROMPT not in lines.text


def test_fields_of_the_context_come_along(lines: Lines) -> None:
    log = logger()
    with structlog.contextvars.bound_contextvars(pool="admit"):
        log.info("alarm")

    assert lines.one()["pool"] == "admit"


def test_logs_go_to_standard_error() -> None:
    logger()

    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr
