"""What a client refuses before it speaks to Kafka."""

import asyncio

import pytest

import headworks
from broker.errors import SecretMissing, SettingsInvalid
from broker.identity.credential import Credential
from broker.settings import KafkaSettings
from headworks import Client, ClientClosed, JobInvalid
from headworks.client.identifiers import derived_job_id

KAFKA = KafkaSettings()
CREDENTIAL = Credential("acme", "0123456789abcdef", bytes(32))


def test_the_package_exports_what_it_names() -> None:
    assert {name for name in headworks.__all__ if not hasattr(headworks, name)} == set()
    with pytest.raises(AttributeError, match="Klient"):
        _ = headworks.Klient


def test_a_credential_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWORKS_CREDENTIAL", CREDENTIAL.reveal())
    assert Client(kafka=KAFKA).application == "acme"
    monkeypatch.delenv("HEADWORKS_CREDENTIAL")
    with pytest.raises(SecretMissing, match="HEADWORKS_CREDENTIAL"):
        Client(kafka=KAFKA)


def test_a_credential_of_another_form_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsInvalid, match="form") as caught:
        Client("sk-very-secret", kafka=KAFKA)
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize("instance", ["", "a/b", "x" * 65, "ü"])
def test_an_instance_has_a_name_that_an_address_can_hold(instance: str) -> None:
    with pytest.raises(SettingsInvalid, match="instance"):
        Client(CREDENTIAL, kafka=KAFKA, instance=instance)


def test_an_unknown_lane_is_refused() -> None:
    with pytest.raises(JobInvalid, match="interactive, standard, bulk"):
        Client(CREDENTIAL, kafka=KAFKA, lane="express")


def test_instances_without_a_name_are_each_their_own() -> None:
    assert Client(CREDENTIAL, kafka=KAFKA).instance != Client(CREDENTIAL, kafka=KAFKA).instance


def test_a_key_derives_the_job_id() -> None:
    assert Client(CREDENTIAL, kafka=KAFKA).job_id("invoice 17") == derived_job_id("acme", "invoice 17")


async def test_before_its_start_a_client_says_how_to_start_it() -> None:
    with pytest.raises(ClientClosed, match="async with"):
        await Client(CREDENTIAL, kafka=KAFKA).submit({"model": "m"})


async def test_to_start_twice_is_to_start_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client, starts = Client(CREDENTIAL, kafka=KAFKA), list[int]()

    async def start() -> None:
        await asyncio.sleep(0)
        starts.append(1)

    monkeypatch.setattr(client, "_start", start)
    await asyncio.gather(client.start(), client.start())
    async with client:
        assert starts == [1]
    await client.start()
    assert starts == [1, 1]
