"""Kafka's jars, brought in once by Maven and kept in a cache of the user."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.services.command import run
from tests.services.programs import MAVEN
from tests.services.runner import ServerUnavailable

POM = Path(__file__).with_name("pom.xml")
_FETCH_TIMEOUT_S = 600


def version() -> str:
    """The version of Kafka that the pom names."""
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([\d.]+)</version>", POM.read_text())
    if found is None:
        raise ServerUnavailable(f"{POM} names no version of Kafka")
    return found[1]


def folder() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "headworks" / f"kafka-{version()}"


def present() -> bool:
    return folder().is_dir()


def fetch() -> Path:
    """The folder of the jars, which is filled first where it is not there. Raises ServerUnavailable."""
    target = folder()
    if present():
        return target
    maven = MAVEN.find()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        _copy_jars(maven, Path(scratch, "jars"))
        _move(Path(scratch, "jars"), target)
    return target


def _copy_jars(maven: str, into: Path) -> None:
    command = [
        *(maven, "--batch-mode", "--no-transfer-progress", "--quiet", "--file", str(POM)),
        *("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={into}"),
    ]
    run(command, home=into.parent, timeout_s=_FETCH_TIMEOUT_S)


def _move(source: Path, target: Path) -> None:
    """In one step, so that what is there is whole; another process may have been quicker."""
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        shutil.rmtree(source)
