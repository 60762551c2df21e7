"""What organizations, projects and keys may do: JSON in their tables' column `settings`."""

from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator, model_validator

from broker.errors import SettingsInvalid
from broker.pricing.book import ModelPrice
from broker.quota.limits import Limits
from schemas.bodies import TOKENS_MAX
from schemas.envelope import TTL_S_MAX


class OrganizationSettings(Limits):
    """The limits are those of all its projects together."""

    time_zone: str = "UTC"
    """An IANA name: its days and calendar months are those of budgets."""

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # a name of none, one that is a path, one that is a folder
            raise ValueError("no time zone has this name; an IANA name is Europe/Berlin or UTC") from None
        return value


class ProjectSettings(Limits):
    models_allowed: tuple[str, ...] | None = None
    """None allows every model that has a price."""
    output_tokens_default: int = Field(1024, ge=1, le=TOKENS_MAX)
    """The output limit of a request that sets none."""
    ttl_s_max: int = Field(TTL_S_MAX, ge=1, le=TTL_S_MAX)
    prices: tuple[ModelPrice, ...] = ()
    """Put before the price book: models that it lacks, terms of the project's own."""

    @model_validator(mode="after")
    def _names_one_price(self) -> Self:
        names = [name for price in self.prices for name in (price.model, *price.aliases)]
        if len(set(names)) < len(names):
            raise ValueError("a name stands for two prices")
        return self


class KeySettings(Limits):
    """The limits are those of one key, within those of its project."""


S = TypeVar("S", bound=Limits)


def read_settings(kind: type[S], name: str, document: Any) -> S:
    """Raises SettingsInvalid, saying whose they are, `project acme/search`, and naming each wrong field."""
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        fields = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in details)
        raise SettingsInvalid(f"settings of {name} are not valid: {fields}") from None
