"""The position of a named instance never passes a reply that was not handed over."""

from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headworks.client.handover import Handover


class Life(RuleBasedStateMachine):
    """The model: every offset that holds a reply and was not handed over yet."""

    def __init__(self) -> None:
        super().__init__()
        self.committed, self.end = 10, 14
        self.handover = Handover(self.committed, self.end)
        self.live = self.end
        self.unhanded = set(range(self.committed, self.end))
        self.held: dict[UUID, int] = {}
        self.unclaimed = set(self.unhanded)

    def _next(self) -> int:
        offset, self.live = self.live, self.live + 1
        return offset

    @rule()
    def an_awaited_reply_arrives(self) -> None:
        offset = self._next()
        job_id = UUID(int=offset)
        self.handover.arrived(job_id, offset)
        self.handover.read_up_to(self.live)
        self.held[job_id] = offset
        self.unhanded.add(offset)

    @rule()
    def a_reply_arrives_that_nobody_awaits(self) -> None:
        offset = self._next()
        self.handover.unclaimed(offset)
        self.handover.read_up_to(self.live)
        self.unclaimed.add(offset)
        self.unhanded.add(offset)

    @rule()
    def a_neighbour_s_reply_passes(self) -> None:
        self._next()
        self.handover.read_up_to(self.live)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_result_is_taken(self, data: st.DataObject) -> None:
        job_id = data.draw(st.sampled_from(sorted(self.held)))
        self.handover.handed(job_id, 1)
        self.unhanded.discard(self.held.pop(job_id))
        assert self.handover.was_handed(job_id, 1)

    @precondition(lambda self: self.handover.owed_from is not None)
    @rule(step=st.integers(1, 5))
    def missed_goes_on(self, step: int) -> None:
        start = self.handover.owed_from
        assert start is not None
        reached = min(start + step, self.live)
        handed = {offset for offset in self.unclaimed if offset < reached}
        self.unclaimed -= handed
        self.unhanded -= handed
        assert self.handover.caught_up_to(reached) == (reached == self.live)

    @invariant()
    def nothing_is_passed_over(self) -> None:
        assert self.handover.position <= min(self.unhanded, default=self.live)

    @invariant()
    def what_is_owed_will_be_found(self) -> None:
        if self.unclaimed:
            assert self.handover.owed_from is not None
            assert self.handover.owed_from <= min(self.unclaimed)

    @invariant()
    def the_position_moves_when_all_is_handed_over(self) -> None:
        if not self.held and self.handover.owed_from is None:
            assert self.handover.position == self.live


TestLife = Life.TestCase


def test_a_first_life_owes_nothing() -> None:
    handover = Handover(None, 40)
    assert (handover.owed_from, handover.position) == (None, 40)


def test_a_topic_made_anew_owes_nothing() -> None:
    assert Handover(50, 40).owed_from is None


def test_of_those_handed_over_the_last_ones_are_remembered() -> None:
    handover = Handover(None, 0)
    for number in range(65_537):
        handover.handed(UUID(int=number), 1)
    assert not handover.was_handed(UUID(int=0), 1)
    assert handover.was_handed(UUID(int=1), 1)
    assert not handover.was_handed(UUID(int=1), 2)
