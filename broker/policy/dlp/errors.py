"""What can be wrong with the rules of data loss prevention and with a job's token map.

ConfigurationError
└── DlpRulesInvalid
HeadworksError
└── TokenMapRefused
    ├── TokenMapTooLarge
    └── TokenMapUnreadable
"""

from broker.errors import ConfigurationError, HeadworksError


class DlpRulesInvalid(ConfigurationError):
    """A kind, region, dictionary, pattern or effect of the policy document cannot be used."""

    code = "dlp_rules_invalid"


class TooMuchFound(HeadworksError):
    """More findings of one type in one text than are worth telling apart: it must not pass unread."""

    code = "dlp_too_much_found"


class TokenMapRefused(HeadworksError):
    code = "token_map_refused"


class TokenMapTooLarge(TokenMapRefused):
    """More was replaced by tokens than one header carries."""

    code = "token_map_too_large"


class TokenMapUnreadable(TokenMapRefused):
    """Sealed under another key or for another job or run, or altered."""

    code = "token_map_unreadable"
