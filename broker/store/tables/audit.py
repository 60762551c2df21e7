"""The audit chains, and how far SETTLE has come with its own."""

from sqlalchemy import JSON, BigInteger, Column, Integer, PrimaryKeyConstraint, String, Table

from broker.store.tables.base import metadata

positions = Table(
    "positions",
    metadata,
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("next_offset", BigInteger, nullable=False),
    Column("chain_length", BigInteger, nullable=False),
    Column("chain_head", String(64), nullable=False),
    PrimaryKeyConstraint("topic", "partition"),
)
"""How far SETTLE has come in each partition of `outcomes.*`, and the head of that partition's audit chain."""

audit = Table(
    "audit",
    metadata,
    Column("topic", String(249), nullable=False),
    Column("partition", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("entry", JSON, nullable=False),
    Column("hash", String(64), nullable=False),
    PrimaryKeyConstraint("topic", "partition", "position"),
)
"""One hash chain a partition of `outcomes.*` (`broker.audit.chain`). Entries hold digests, never texts."""
