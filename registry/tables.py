"""The catalogue's tables. The migrations make them; a test holds the two together.

    specialists 1 ── n versions 1 ── n origins
         │               │
         ├──── aliases ──┤          changes: one row per change of what `prod` means
         └───── moves ───┘          listing: one row per specialist in service (see listing.py)

A specialist is live while it has the alias `prod` and is not retired. Retiring it marks it and
removes nothing: requests in flight keep their files, and restoring it brings its aliases back.
What an alias points to stands twice: in `aliases`, and in the last of its `moves`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

from registry.column_types import line

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

specialists = Table(
    "specialists",
    metadata,
    Column("id", line(129), primary_key=True),  # owner/name
    Column("seq", Integer, nullable=False, server_default="0"),  # the number in lists
    Column("name", line(64), nullable=False, index=True),
    Column("retired", DateTime),  # UTC; null: in use
    Column("visibility", line(8), nullable=False, server_default="private"),
    Index("ix_specialists_seq", "seq", unique=True),
    Index("ix_specialists_visibility_id", "visibility", "id"),
    Index("ix_specialists_visibility_name", "visibility", "name"),
)

versions = Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("specialist", ForeignKey(specialists.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", line(71), nullable=False, unique=True),
    Column("kind", line(16), nullable=False),
    Column("base", line(256), nullable=False),
    Column("config", line(71), nullable=False),  # a blob
    Column("weights", line(71), nullable=False),  # a blob
    Column("card", Text, nullable=False),  # canonical JSON
    Column("traits", Text, nullable=False, server_default="{}"),  # JSON
    Column("nbytes", BigInteger, nullable=False, server_default="0"),  # of both blobs
    Column("created", DateTime, nullable=False),  # UTC
    Column("quarantined", line(500)),  # why nobody is answered by it; null: it may be served
    Column("purged", DateTime),  # UTC, since when its files may be gone; null: they are there
    UniqueConstraint("specialist", "number"),
    Index("ix_versions_config", "config"),
    Index("ix_versions_weights", "weights"),
)

aliases = Table(
    "aliases",
    metadata,
    Column("specialist", ForeignKey(specialists.c.id), primary_key=True),
    Column("alias", line(64), primary_key=True),
    Column("version", ForeignKey(versions.c.id), nullable=False, index=True),
)

# Every move of every alias, for good: an alias's history.
moves = Table(
    "moves",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("specialist", ForeignKey(specialists.c.id), nullable=False),
    Column("alias", line(64), nullable=False),
    Column("version", ForeignKey(versions.c.id)),  # null: taken away
    Column("before", ForeignKey("moves.id")),  # the move that a rollback returns to
    Column("reason", line(500)),
    Column("overridden", Text),  # why the gates would have refused it
    Column("created", DateTime, nullable=False),  # UTC
    Index("ix_moves_specialist_alias_id", "specialist", "alias", "id"),
    sqlite_autoincrement=True,
)

# Aliases that move only when they are told to, by whoever knows where they are.
protections = Table(
    "protections",
    metadata,
    Column("specialist", ForeignKey(specialists.c.id), primary_key=True),
    Column("alias", line(64), primary_key=True),
)

# Every change, in order; each digest is of its entry and of the digest before it.
audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("created", DateTime, nullable=False),  # UTC
    Column("action", line(32), nullable=False),
    Column("specialist", line(129), nullable=False, index=True),
    Column("details", Text, nullable=False),  # canonical JSON
    Column("digest", line(71), nullable=False),
)

# A version that some of the requests for an alias get, while it is tried.
canaries = Table(
    "trials",
    metadata,
    Column("specialist", ForeignKey(specialists.c.id), primary_key=True),
    Column("alias", line(64), primary_key=True),
    Column("version", ForeignKey(versions.c.id), nullable=False),
    Column("share", Float, nullable=False),  # 0: it was taken back
    Column("margin", Float, nullable=False, server_default="0.1"),
    Column("least", Integer, nullable=False, server_default="20"),
    Column("began", DateTime),  # UTC
    Column("verdict", line(500)),  # why it was taken back
)

# How answers ended since a trial began, of the version in service and the one that is tried.
outcomes = Table(
    "outcomes",
    metadata,
    Column("version", ForeignKey(versions.c.id), primary_key=True),
    Column("answered", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
)

# What people think of answers.
feedback = Table(
    "feedback",
    metadata,
    Column("answer", line(100), primary_key=True),
    Column("version", ForeignKey(versions.c.id)),  # none: it was the base's
    Column("rating", line(8), nullable=False),
    Column("correction", Text),
    Column("created", DateTime, nullable=False),  # UTC
    Column("owner", line(64)),  # of the key that said it
    Index("ix_feedback_version_created", "version", "created"),
)

# Conversations that whoever asked wanted kept.
conversations = Table(
    "conversations",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("id", line(100), nullable=False, unique=True),
    Column("owner", line(64)),  # of the key that asked
    Column("base", line(256), nullable=False),
    Column("specialist", line(129)),
    Column("model", line(256), nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
    Column("request", Text, nullable=False),  # JSON
    Column("answer", Text, nullable=False),  # JSON
    Column("metadata", Text, nullable=False, server_default="{}"),  # JSON
    Column("nbytes", BigInteger, nullable=False, server_default="0"),  # of these three
    Index("ix_conversations_owner_seq_nbytes", "owner", "seq", "nbytes"),
    Index("ix_conversations_specialist_seq", "specialist", "seq"),
    Index("ix_conversations_created", "created"),
    sqlite_autoincrement=True,
)

# What only this registry's servers know.
secrets = Table(
    "secrets",
    metadata,
    Column("name", line(32), primary_key=True),
    Column("value", line(64), nullable=False),
)

# What a version must have scored before an alias is pointed to it.
gates = Table(
    "gates",
    metadata,
    Column("specialist", ForeignKey(specialists.c.id), primary_key=True),
    Column("alias", line(64), primary_key=True),
    Column("gates", Text, nullable=False),  # JSON
)

# What versions were made from. `subject` is another version's digest, a file's, or a name.
origins = Table(
    "origins",
    metadata,
    Column("version", ForeignKey(versions.c.id), primary_key=True),
    Column("relation", line(16), primary_key=True),
    Column("subject", line(256), primary_key=True),
    Column("label", line(256), nullable=False),
    Column("license", line(256)),
    Index("ix_origins_relation_subject", "relation", "subject"),
    Index("ix_origins_relation_label", "relation", "label"),
)

# Who may ask, for what, and as whom.
keys = Table(
    "keys",
    metadata,
    Column("id", line(16), primary_key=True),
    Column("name", line(200), nullable=False),
    Column("owner", line(64)),  # null: all owners
    Column("scopes", line(200), nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
    Column("expires", DateTime),  # UTC
    Column("revoked", DateTime),  # UTC
    Column("hash", line(64), nullable=False),
    Column("quota", Text, nullable=False, server_default="{}"),  # JSON
)

# How much was asked, by day.
usage = Table(
    "usage",
    metadata,
    Column("day", Date, primary_key=True),  # UTC
    Column("model", line(256), primary_key=True),  # who answered
    Column("key", line(16), primary_key=True),  # empty: none was needed
    Column("owner", line(64)),  # of the key
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),  # of these
    Column("completion_tokens", BigInteger, nullable=False),
    Index("ix_usage_model_day", "model", "day"),
    Index("ix_usage_owner_day", "owner", "day"),
)

# Held-out scores that came after a version was registered.
scores = Table(
    "scores",
    metadata,
    Column("version", ForeignKey(versions.c.id), primary_key=True),
    Column("metric", line(64), primary_key=True),
    Column("data", line(256), primary_key=True),  # empty: it was not said
    Column("value", Float, nullable=False),
    Column("base_value", Float),
    Column("rows", Integer),
    Column("created", DateTime, nullable=False),  # UTC
)

# Files that are not to be removed: of one version, or all.
leases = Table(
    "leases",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("holder", line(64), nullable=False),
    Column("digest", line(71)),  # null: all versions
    Column("until", DateTime, nullable=False),  # UTC
)

# Which weights a base's name stands for here: adapters of one fit no other.
bases = Table(
    "bases",
    metadata,
    Column("name", line(256), primary_key=True),
    Column("digest", line(71), nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("specialist", ForeignKey(specialists.c.id), nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
)

# What people sent to be trained on, and what trainings left.
files = Table(
    "files",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", line(40), nullable=False, unique=True),
    Column("owner", line(64)),  # null: nobody's in particular
    Column("name", line(256), nullable=False),
    Column("purpose", line(32), nullable=False),
    Column("content", line(71), nullable=False, index=True),  # a blob
    Column("nbytes", BigInteger, nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
    Index("ix_files_owner_seq", "owner", "seq"),
    sqlite_autoincrement=True,
)

# Trainings that were asked for, and how far they are.
jobs = Table(
    "jobs",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", line(40), nullable=False, unique=True),
    Column("owner", line(64)),  # null: nobody's in particular
    Column("actor", line(64)),  # the key that asked for it
    Column("quota", Text, nullable=False),  # JSON, the key's
    Column("base", line(256), nullable=False),
    Column("specialist", line(129), nullable=False),
    Column("task", Text, nullable=False),  # JSON
    Column("training", line(71), nullable=False, index=True),  # a blob
    Column("validation", line(71), index=True),  # a blob
    Column("status", line(16), nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
    Column("began", DateTime),  # UTC
    Column("ended", DateTime),  # UTC
    Column("expected", DateTime),  # UTC, when it may be done
    Column("holder", line(64)),  # who trains
    Column("until", DateTime),  # UTC, when the holder is given up unless it is heard of
    Column("attempts", Integer, nullable=False, server_default="0"),  # since the last checkpoint
    Column("checkpoint", line(71), index=True),  # a blob
    Column("outcome", Text, nullable=False, server_default="{}"),  # JSON
    Column("error", Text),  # JSON
    Index("ix_jobs_owner_seq", "owner", "seq"),
    Index("ix_jobs_status_seq", "status", "seq"),
    sqlite_autoincrement=True,
)

# What there is to tell of trainings.
job_events = Table(
    "job_events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("job", ForeignKey(jobs.c.seq), nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
    Column("level", line(8), nullable=False),
    Column("kind", line(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", Text, nullable=False, server_default="{}"),  # JSON
    Index("ix_job_events_job_id", "job", "id"),
    sqlite_autoincrement=True,
)

# Files of requests that were asked to be answered, and how far they are.
batches = Table(
    "batches",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", line(40), nullable=False, unique=True),
    Column("owner", line(64)),  # null: nobody's in particular
    Column("actor", line(64)),  # the key that asked for it
    Column("base", line(256), nullable=False),
    Column("endpoint", line(64), nullable=False),
    Column("input", line(40), nullable=False),  # a file
    Column("content", line(71), nullable=False, index=True),  # its blob
    Column("metadata", Text, nullable=False, server_default="{}"),  # JSON
    Column("status", line(16), nullable=False),
    Column("created", DateTime, nullable=False),  # UTC
    Column("began", DateTime),  # UTC, when the first request was
    Column("finishing", DateTime),  # UTC, since when only its files are missing
    Column("cancelled", DateTime),  # UTC, when that was asked for
    Column("ended", DateTime),  # UTC
    Column("total", Integer, nullable=False, server_default="0"),  # requests
    Column("completed", Integer, nullable=False, server_default="0"),  # of these
    Column("failed", Integer, nullable=False, server_default="0"),  # of these
    Column("nbytes", BigInteger, nullable=False, server_default="0"),  # of answers
    Column("problems", Text, nullable=False, server_default="[]"),  # JSON
    Column("output", line(40)),  # a file
    Column("failures", line(40)),  # a file
    Column("holder", line(64)),  # who works on it
    Column("until", DateTime),  # UTC, when the holder is given up unless it is heard of
    Column("turn", DateTime),  # UTC, when somebody last took it
    Index("ix_batches_owner_seq", "owner", "seq"),
    Index("ix_batches_status_seq", "status", "seq"),
    sqlite_autoincrement=True,
)

# Their answers, until all are there and become files.
batch_answers = Table(
    "batch_answers",
    metadata,
    Column("batch", ForeignKey(batches.c.seq), primary_key=True),
    Column("number", Integer, primary_key=True),  # of the request's line
    Column("failed", Boolean, nullable=False),
    Column("answer", Text, nullable=False),  # JSON
)

# Every live specialist in the order of its id, straight from an index.
Index("ix_aliases_alias_specialist", aliases.c.alias, aliases.c.specialist)
