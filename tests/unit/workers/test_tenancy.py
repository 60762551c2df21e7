"""What is read off an unopened record agrees with its sealed state, and is harmless whatever it holds."""

from typing import NamedTuple, cast
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from broker.providers.routes import Routes
from broker.records import Handed, Inner, Outgoing, Sealer
from broker.settings import ProviderTarget
from broker.store.keys import JobKey
from schemas import headers
from schemas.envelope import Tags
from schemas.state import Charge, Decision, Estimate, Hold, State
from schemas.terms import Rates, Terms
from schemas.topics import Lane
from workers.call import allowed_regions
from workers.engine.tenants import Claim, Tenant
from workers.tenancy import Claims, claimed_tenant
from workers.tombstones import Tombstones

HOLD = Hold(id="h" * 32, nanodollars=9, input_tokens=90_000, output_tokens=90_000, day=20_000, minute=1)
CHARGE = Charge(
    attempt=1, verdict="failed", hold=HOLD, nanodollars=9, estimated=True, price_version="1", target="t"
)
TERMS = Terms(rates=Rates(input=1, cached_input=1, cache_write=1, output=1))
tokens = st.integers(0, 10**12)


class Received(NamedTuple):
    headers: list[tuple[str, bytes | None]]
    value: bytes | None
    topic: str = "reserved.bulk"
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    timestamp_type: int | None = 1
    key: bytes | None = None


def state_of(application_id: int, estimate: Estimate | None, text: str = "x") -> State:
    return State(
        application=text,
        application_id=application_id,
        organization_id=2,
        project_id=3,
        key_id="k",
        job_id=UUID(int=5),
        lane=Lane.BULK,
        origin="jobs.bulk/0/1",
        value_sha256="0" * 64,
        appended_ms=1,
        deadline_ms=2,
        reply_to=text,
        model=text,
        tags=Tags.model_construct(department=text),
        overrides={text: 1},
        estimate=estimate,
        hold=HOLD,
        charges=(CHARGE,),
    )


def sealed(state: State, value: bytes = b"v") -> Received:
    outgoing: Outgoing = Sealer(b"k" * 32).seal("reserved.bulk", state, value)
    return Received(list(outgoing.headers), value)


@given(st.integers(1, 2**63 - 1), tokens, tokens, st.text())
def test_tenant_and_cost_are_those_of_the_state(id_: int, in_: int, out: int, text: str) -> None:
    estimate = Estimate(
        nanodollars=7, input_tokens=in_, output_tokens=out, price_version="1", terms=TERMS.packed()
    )
    expected = Tenant(str(id_).encode(), max(1, -(-(in_ + out) // 1024)))
    assert claimed_tenant(sealed(state_of(id_, estimate, text))) == expected


def test_text_in_the_state_that_looks_like_a_claim_is_none() -> None:
    text = '{"application_id":8,"estimate":{"nanodollars":1,"input_tokens":999999,"output_tokens":9},'
    estimate = Estimate(
        nanodollars=1, input_tokens=1_000, output_tokens=1_049, price_version="1", terms=TERMS.packed()
    )
    assert claimed_tenant(sealed(state_of(7, estimate, text))) == Tenant(b"7", 3)


def test_without_an_estimate_bytes_count() -> None:
    record = sealed(state_of(7, None), b"v" * 2_049)
    assert claimed_tenant(record) == Tenant(b"7", 3)


@given(
    st.none() | st.tuples(tokens, tokens),
    st.text(),
    st.binary(max_size=3_000),
    st.sampled_from([1, 2]),
    st.booleans(),
)
def test_a_job_that_is_handed_over_claims_what_its_sealed_record_would(
    work: tuple[int, int] | None, model: str, value: bytes, now_ms: int, is_off: bool
) -> None:
    estimate = None
    if work is not None:
        estimate = Estimate(
            nanodollars=7,
            input_tokens=work[0],
            output_tokens=work[1],
            price_version="1",
            terms=TERMS.packed(),
        )
    state = state_of(7, estimate, model)
    off = [JobKey(7, state.job_id)] if is_off else []
    record = sealed(state, value)
    handed = Handed(record, Inner(state, value, b""))
    found = claims(now_ms, *off, a=[model], b=[])
    assert found.of(handed) == found.of(record)


class Called:
    """What is called off."""

    def __init__(self, *keys: JobKey) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    def cover(self, key: JobKey) -> bool:
        return key in self.keys


def claims(now_ms: int = 1, *off: JobKey, **models: list[str]) -> Claims:
    """Targets and the models that they serve."""
    routes = Routes(
        {name: ProviderTarget(base_url="http://127.0.0.1:1/v1", models=of) for name, of in models.items()}
    )
    return Claims(routes, cast(Tombstones, Called(*off)), lambda: now_ms)


@given(st.text(), st.text())
def test_a_job_takes_a_place_at_the_target_that_serves_its_model(model: str, other: str) -> None:
    record = sealed(state_of(7, None, model))
    target = claims(a=[model], b=[]).of(record).resource
    assert target == "a"
    assert claims(b=[other]).of(record).resource == ("b" if other == model else None)
    assert claims(b=[]).of(record) == Claim(claimed_tenant(record), "b")


def test_a_job_that_is_not_to_be_called_takes_no_place() -> None:
    """`state_of` has a deadline of 2."""
    record = sealed(state_of(7, None))
    job = UUID(int=5)
    assert claims(1, JobKey(7, UUID(int=6)), JobKey(8, job), b=[]).of(record).resource == "b"
    assert claims(2, b=[]).of(record).resource is None
    assert claims(1, JobKey(7, job), b=[]).of(record).resource is None


@given(
    st.none() | st.lists(st.sampled_from(["eu", "us", "ap-1"]), unique=True).map(tuple),
    st.sampled_from(["m", "n", '"regions":["us"]']),
)
def test_a_job_takes_its_place_where_it_will_be_called(regions: tuple[str, ...] | None, model: str) -> None:
    """As `prepare` looks it up, of the state itself."""
    routes = Routes(
        {
            "us": ProviderTarget(base_url="http://x/v1", models=["m"], region="us"),
            "eu": ProviderTarget(base_url="http://x/v1", models=["m"], region="eu"),
            "rest": ProviderTarget(base_url="http://x/v1", region="ap-1"),
        }
    )
    decision = Decision(id="d", revision="r", effect="flag", regions=regions, served=("eu",))
    state = state_of(7, None, model).model_copy(update={"decision": decision})
    target = routes.target(model, allowed_regions(state))
    place = Claims(routes, cast(Tombstones, Called()), lambda: 1).of(sealed(state)).resource
    assert place == (None if target is None else target.name)


names = st.sampled_from([headers.STATE, headers.SEAL, "x"])
contents = st.one_of(
    st.none(),
    st.binary(),
    st.from_regex(rb'"application_id":\d{0,25}[,}]'),
    st.from_regex(rb'"deadline_ms":9[,}]"model":".*"'),
    st.from_regex(rb'"deadline_ms":9,"regions":\[.*\]'),
)


@given(st.lists(st.tuples(names, contents)), st.one_of(st.none(), st.binary()))
def test_whatever_it_holds_a_record_has_a_place(
    carried: list[tuple[str, bytes | None]], value: bytes | None
) -> None:
    (key, cost), _ = claims(1, JobKey(7, UUID(int=5)), b=[]).of(Received(carried, value))
    assert isinstance(key, bytes)
    assert len(key) <= 19
    assert cost >= 1
