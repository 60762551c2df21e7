"""Every table, as SQLAlchemy Core.

Money is BIGINT nano-dollars; times are BIGINT Unix milliseconds. Digests are lower-case hexadecimal text, job
ids UUIDs.
"""

from broker.store.tables import audit, corrections, identity, ledger, notices, policy, set_aside

__all__ = ["audit", "corrections", "identity", "ledger", "notices", "policy", "set_aside"]
