"""What conditions remember is shared by threads: one may forget it while another looks."""

from typing import Any

from broker.policy.compiled import Judged
from tests.unit.broker.policy.jobs import revision, rule


class Forgetful(dict[Any, Any]):
    """Another thread forgets all right after each look."""

    def __contains__(self, key: object) -> bool:
        found = super().__contains__(key)
        self.clear()
        return found

    def get(self, key: object, default: Any = None) -> Any:
        found = super().get(key, default)
        self.clear()
        return found


def test_what_another_thread_forgets_is_found_out_again() -> None:
    judged: Judged = revision(rule("long", "answer.chars > 2000", "flag")).compiled.judged("long")
    judged._outcomes = Forgetful()
    assert [judged.outcome((2_001,)) for _ in range(3)] == [True] * 3
    assert [judged.outcome((2_000,)) for _ in range(3)] == [False] * 3
