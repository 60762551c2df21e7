"""`headworks run` and `headworks submit` as processes, ended in every way, on the embedded Kafka."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
import pytest_asyncio

from broker.identity.credential import Credential
from broker.kafka import topics as kafka_topics
from broker.kafka.embedded import EmbeddedKafka
from broker.settings import KafkaSettings
from tests.integration.stub_broker import StubBroker, refuse

DEADLINE_S = 60
LINES = 120


class Shell:
    """Runs commands of Headworks in a folder of their own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), **environment}

    async def start(self, *arguments: str, stdin: int = DEVNULL) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from headworks.cli import main; main()",
            *arguments,
            cwd=self.folder,
            env=self._environment,
            stdin=stdin,
            stdout=PIPE,
            stderr=PIPE,
        )

    async def run(self, *arguments: str, given: bytes | None = None) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        process = await self.start(*arguments, stdin=DEVNULL if given is None else PIPE)
        out, err = await asyncio.wait_for(process.communicate(given), DEADLINE_S)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def written(self) -> list[str]:
        """The custom_ids of all lines of output, sorted."""
        paths = (self.folder / "out.jsonl", self.folder / "out.errors.jsonl")
        lines = [orjson.loads(line) for path in paths for line in path.read_bytes().splitlines()]
        return sorted(str(line["custom_id"]) for line in lines)


@pytest.fixture
def settings(embedded_kafka: EmbeddedKafka) -> KafkaSettings:
    return KafkaSettings(
        bootstrap_servers=embedded_kafka.bootstrap_servers,
        reply_partitions=2,
        fetch_wait_ms_max=20,
        idempotence=False,
        append_time="receipt",
    )


@pytest.fixture
def credential() -> Credential:
    return Credential.generate(f"app-{uuid4().hex[:12]}")


@pytest_asyncio.fixture
async def stub(settings: KafkaSettings, credential: Credential) -> Any:
    await kafka_topics.apply(settings, [credential.application])
    async with StubBroker(settings, credential) as stub:
        yield stub


@pytest.fixture
def environment(settings: KafkaSettings, credential: Credential) -> dict[str, str]:
    return {
        "HEADWORKS_CREDENTIAL": credential.reveal(),
        "HEADWORKS_KAFKA__BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "HEADWORKS_KAFKA__IDEMPOTENCE": "false",
        "HEADWORKS_KAFKA__FETCH_WAIT_MS_MAX": "20",
    }


@pytest.fixture
def shell(tmp_path: Path, environment: dict[str, str]) -> Shell:
    (tmp_path / "in.jsonl").write_bytes(requests())
    return Shell(tmp_path, environment)


def requests() -> bytes:
    return b"".join(request(f"c{number:03}") for number in range(LINES))


def request(custom_id: str) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": custom_id}]}
    fields = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return orjson.dumps(fields) + b"\n"


EVERY_LINE = sorted(f"c{number:03}" for number in range(LINES))


async def test_a_file_is_run_and_summed_up(shell: Shell, stub: StubBroker) -> None:
    status, out, err = await shell.run("run", "in.jsonl", "--output", "out.jsonl", "--json")
    assert status == 0, err
    told = orjson.loads(out)
    assert (told["lines"], told["answered"], told["interrupted"]) == (LINES, LINES, False)
    assert (told["dollars"], told["input_tokens"]) == ("0.000180000", 3 * LINES)
    assert shell.written() == EVERY_LINE
    assert set(stub.lanes.values()) == {"jobs.bulk"}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_a_run_that_is_ended_goes_on_and_pays_nothing_twice(
    shell: Shell, stub: StubBroker, how: signal.Signals
) -> None:
    process = await shell.start("run", "in.jsonl", "-o", "out.jsonl", "--in-flight", "10")
    await asyncio.wait_for(stub.seen_at_least(30), DEADLINE_S)
    stub.hold()
    process.send_signal(how)
    _, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert how == signal.SIGKILL or b"run the same command again" in err
    assert len(shell.written()) < LINES
    await stub.release()
    status, _, second = await shell.run("run", "in.jsonl", "-o", "out.jsonl")
    assert status == 0, second
    assert shell.written() == EVERY_LINE
    assert set(stub.calls.values()) == {1}
    assert len(stub.calls) == LINES


async def test_the_same_input_to_another_output_is_answered_again_and_not_paid_again(
    shell: Shell, stub: StubBroker
) -> None:
    await shell.run("run", "in.jsonl", "-o", "first.jsonl")
    status, _, err = await shell.run("run", "in.jsonl", "-o", "out.jsonl", "--quiet")
    assert (status, err) == (0, "")
    assert shell.written() == EVERY_LINE
    assert set(stub.calls.values()) == {1}


async def test_a_run_of_its_own_name_is_done_anew(shell: Shell, stub: StubBroker) -> None:
    await shell.run("run", "in.jsonl", "-o", "first.jsonl")
    await shell.run("run", "in.jsonl", "-o", "out.jsonl", "--run-id", "second")
    assert len(stub.calls) == 2 * LINES


async def test_a_pipe_is_run_and_can_go_on_by_its_name(shell: Shell, stub: StubBroker) -> None:
    status, _, err = await shell.run("run", "-", "-o", "out.jsonl", given=requests())
    assert status == 0, err
    assert shell.written() == EVERY_LINE
    run_id = err.split("This is run ")[1].split(":")[0]
    given = requests() + request("one more")
    status, _, err = await shell.run("run", "-", "-o", "out.jsonl", "--run-id", run_id, given=given)
    assert status == 0, err
    assert shell.written() == [*EVERY_LINE, "one more"]
    assert set(stub.calls.values()) == {1}


async def test_malformed_lines_are_told_and_the_rest_goes_on(shell: Shell, stub: StubBroker) -> None:
    (shell.folder / "in.jsonl").write_bytes(b"{\n" + request("a") + request("a"))
    status, out, _ = await shell.run("run", "in.jsonl", "-o", "out.jsonl", "--json")
    assert status == 0
    assert orjson.loads(out)["malformed"] == {"invalid_json": 1, "duplicate_custom_id": 1}
    assert shell.written() == ["None", "a", "a"]


async def test_jobs_that_failed_make_another_exit_status(shell: Shell, stub: StubBroker) -> None:
    stub.answer = lambda job_id, envelope: refuse(job_id, envelope).model_copy(update={"status": "dead"})
    status, _, err = await shell.run("run", "in.jsonl", "-o", "out.jsonl")
    assert status == 3
    assert "dead: unknown_model" in err


async def test_a_run_to_which_nothing_comes_back_can_be_given_up(shell: Shell, stub: StubBroker) -> None:
    stub.hold()
    status, _, err = await shell.run("run", "in.jsonl", "-o", "out.jsonl", "--idle-timeout", "1")
    assert status == 1
    assert "nothing_comes_back" in err


async def test_input_and_output_are_not_one_file(shell: Shell) -> None:
    status, _, err = await shell.run("run", "in.jsonl", "-o", "./in.jsonl")
    assert status == 2
    assert "three files" in err
    assert (shell.folder / "in.jsonl").read_bytes() == requests()


async def test_one_prompt_is_answered(shell: Shell, stub: StubBroker) -> None:
    assert await shell.run("submit", "hello there") == (0, "hello there\n", "")
    status, out, _ = await shell.run("submit", "-", "--json", given=b"from a pipe")
    assert status == 0
    assert orjson.loads(out)["response"]["choices"][0]["message"]["content"] == "from a pipe"


async def test_a_refusal_is_told_by_its_code(shell: Shell, stub: StubBroker) -> None:
    stub.answer = refuse
    assert await shell.run("submit", "hello") == (1, "", "unknown_model: no price for this model\n")


async def test_an_answer_can_be_fetched_later(shell: Shell, stub: StubBroker) -> None:
    status, out, _ = await shell.run("submit", "later", "--no-wait")
    job_id = UUID(out.strip())
    assert status == 0
    assert await shell.run("submit", "later", "--job-id", str(job_id)) == (0, "later\n", "")
    assert stub.calls[job_id] == 1


async def test_without_a_reply_it_is_said_what_may_be_wrong(shell: Shell, stub: StubBroker) -> None:
    stub.hold()
    status, out, err = await shell.run("submit", "hello", "--timeout", "1")
    assert (status, out) == (1, "")
    [line] = err.splitlines()
    assert line.startswith("error [result_timeout]: no result of job ")
    assert "--job-id" in line
    assert "check the key (`headworks keys list`)" in line


async def test_what_headworks_dev_left_in_the_folder_is_used(
    tmp_path: Path, environment: dict[str, str], stub: StubBroker
) -> None:
    (tmp_path / ".headworks").mkdir()
    pairs = (f"{name}={value}\n" for name, value in environment.items())
    (tmp_path / ".headworks" / "dev.env").write_text("".join(pairs))
    status, out, err = await Shell(tmp_path, {}).run("submit", "hello")
    assert (status, out) == (0, "hello\n")
    assert "headworks dev" in err
