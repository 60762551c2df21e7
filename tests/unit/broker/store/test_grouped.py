"""Group commit, driven by hand: each commit waits until the test lets it go."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from broker.errors import DatabaseUnavailable
from broker.store.grouped import Grouped


class Commits:
    """Stands for the database: notes each group, and answers when it is told to."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.failures: dict[str, Exception] = {}
        self._begun = asyncio.Condition()
        self._gates: list[asyncio.Event] = []

    async def __call__(self, items: Sequence[str]) -> list[str]:
        gate = asyncio.Event()
        async with self._begun:
            self.groups.append(list(items))
            self._gates.append(gate)
            self._begun.notify_all()
        await gate.wait()
        for item in items:
            if item in self.failures:
                raise self.failures[item]
        return [item.upper() for item in items]

    async def begun(self, count: int) -> None:
        async with asyncio.timeout(30), self._begun:
            await self._begun.wait_for(lambda: len(self.groups) >= count)

    async def let_go(self, number: int) -> None:
        await self.begun(number + 1)
        self._gates[number].set()

    async def let_all_go(self, *tasks: "asyncio.Task[list[str]]") -> None:
        """Until `tasks` are done."""
        number = 0
        while not all(task.done() for task in tasks):
            next_ = asyncio.create_task(self.begun(number + 1))
            await asyncio.wait([next_, *tasks], return_when=asyncio.FIRST_COMPLETED, timeout=30)
            if len(self._gates) > number:
                self._gates[number].set()
                number += 1
                await asyncio.sleep(0)
            next_.cancel()


@pytest.fixture
async def commits() -> Commits:
    return Commits()


async def _soon(task: "asyncio.Task[list[str]]") -> list[str]:
    return await asyncio.wait_for(asyncio.shield(task), 30)


def _submit(grouped: Grouped[str, str], items: str) -> "asyncio.Task[list[str]]":
    return asyncio.create_task(grouped.submit(list(items)))


async def test_an_idle_system_commits_at_once(commits: Commits) -> None:
    grouped = Grouped(commits)
    task = _submit(grouped, "ab")
    await commits.let_go(0)
    assert await _soon(task) == ["A", "B"]
    assert commits.groups == [["a", "b"]]


async def test_what_gathers_while_one_commit_runs_goes_together_in_the_next(commits: Commits) -> None:
    grouped = Grouped(commits)
    first = _submit(grouped, "a")
    await commits.begun(1)
    later = [_submit(grouped, items) for items in ("b", "cd", "e")]
    await commits.let_go(0)
    await commits.let_go(1)
    assert [await _soon(task) for task in (first, *later)] == [["A"], ["B"], ["C", "D"], ["E"]]
    assert commits.groups == [["a"], ["b", "c", "d", "e"]]


async def test_one_commit_runs_at_a_time(commits: Commits) -> None:
    grouped = Grouped(commits)
    tasks = [_submit(grouped, "a")]
    await commits.begun(1)
    tasks += [_submit(grouped, "b")]
    await asyncio.sleep(0)
    assert commits.groups == [["a"]]
    await commits.let_all_go(*tasks)


async def test_a_group_is_no_larger_than_allowed_and_keeps_the_order(commits: Commits) -> None:
    grouped = Grouped(commits, rows_max=3)
    tasks = [_submit(grouped, "x")]
    await commits.begun(1)
    tasks += [_submit(grouped, items) for items in ("ab", "cd", "e", "fghij", "k")]
    await commits.let_all_go(*tasks)
    assert commits.groups == [["x"], ["a", "b"], ["c", "d", "e"], ["f", "g", "h", "i", "j"], ["k"]]


async def test_a_system_that_was_idle_again_commits_again(commits: Commits) -> None:
    grouped = Grouped(commits)
    for number, items in enumerate("ab"):
        task = _submit(grouped, items)
        await commits.let_go(number)
        assert await _soon(task) == [items.upper()]


async def test_no_items_are_no_commit(commits: Commits) -> None:
    assert await Grouped(commits).submit([]) == []
    assert commits.groups == []


async def test_a_part_that_is_away_fails_the_whole_group(commits: Commits) -> None:
    grouped = Grouped(commits)
    commits.failures["b"] = DatabaseUnavailable("away")
    first = _submit(grouped, "x")
    await commits.begun(1)
    tasks = [_submit(grouped, items) for items in "abc"]
    await commits.let_go(0)
    await commits.let_go(1)
    await _soon(first)
    for task in tasks:
        with pytest.raises(DatabaseUnavailable):
            await _soon(task)
    assert commits.groups == [["x"], ["a", "b", "c"]]


async def test_a_bad_submission_does_not_fail_its_neighbours(commits: Commits) -> None:
    grouped = Grouped(commits)
    commits.failures["b"] = ValueError("bad")
    tasks = [_submit(grouped, items) for items in ("a", "bb", "c")]
    await commits.let_all_go(*tasks)
    assert commits.groups == [["a", "b", "b", "c"], ["a"], ["b", "b"], ["c"]]
    assert [await _soon(tasks[0]), await _soon(tasks[2])] == [["A"], ["C"]]
    with pytest.raises(ValueError, match="bad"):
        await _soon(tasks[1])


async def test_after_a_failure_the_next_are_committed(commits: Commits) -> None:
    grouped = Grouped(commits)
    commits.failures["a"] = ValueError("bad")
    bad = _submit(grouped, "a")
    await commits.let_go(0)
    with pytest.raises(ValueError, match="bad"):
        await _soon(bad)
    good = _submit(grouped, "b")
    await commits.let_go(1)
    assert await _soon(good) == ["B"]


async def test_who_is_cancelled_before_its_commit_withdraws(commits: Commits) -> None:
    grouped = Grouped(commits)
    first = _submit(grouped, "a")
    await commits.begun(1)
    gone, stays = _submit(grouped, "b"), _submit(grouped, "c")
    await asyncio.sleep(0)
    gone.cancel()
    await commits.let_go(0)
    await commits.let_go(1)
    assert [await _soon(first), await _soon(stays)] == [["A"], ["C"]]
    assert commits.groups == [["a"], ["c"]]
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_who_is_cancelled_during_its_commit_takes_nobody_along(commits: Commits) -> None:
    grouped = Grouped(commits)
    first = _submit(grouped, "x")
    await commits.begun(1)
    gone, stays = _submit(grouped, "a"), _submit(grouped, "b")
    await commits.let_go(0)
    await commits.begun(2)
    gone.cancel()
    await commits.let_go(1)
    assert [await _soon(first), await _soon(stays)] == [["X"], ["B"]]
    assert commits.groups == [["x"], ["a", "b"]]


async def test_closing_waits_for_what_was_submitted_and_takes_no_more(commits: Commits) -> None:
    grouped = Grouped(commits)
    tasks = [_submit(grouped, "a")]
    await commits.begun(1)
    tasks.append(_submit(grouped, "b"))
    await asyncio.sleep(0)
    closing = asyncio.create_task(grouped.close())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="closed"):
        await grouped.submit(["c"])
    assert not closing.done()
    await commits.let_all_go(*tasks)
    await asyncio.wait_for(closing, 30)
    assert [await _soon(task) for task in tasks] == [["A"], ["B"]]


async def test_closing_an_idle_one_is_at_once(commits: Commits) -> None:
    grouped = Grouped(commits)
    await asyncio.wait_for(grouped.close(), 30)
    await asyncio.wait_for(grouped.close(), 30)


async def test_nobody_waits_for_ever_when_the_loop_is_brought_down(commits: Commits) -> None:
    grouped = Grouped(commits)
    tasks = [_submit(grouped, "a")]
    await commits.begun(1)
    tasks.append(_submit(grouped, "b"))
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()} - set(tasks):
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await _soon(task)
    assert all(task.cancelled() for task in tasks)
