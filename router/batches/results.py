"""The files that a batch leaves: of answers, and of refusals."""

import tempfile
from mmap import ACCESS_READ, mmap

from registry.batch import Batch
from registry.batches import MADE
from registry.registry import Registry


def keep(registry: Registry, batch: Batch) -> tuple[str | None, str | None]:
    """Make files of what was told of a batch; gives their ids, None for one without a line."""
    return _file(registry, batch, "output", failed=False), _file(
        registry, batch, "error", failed=True
    )


def _file(registry: Registry, batch: Batch, what: str, *, failed: bool) -> str | None:
    with tempfile.TemporaryFile() as draft:
        for line in registry.batch_queue.answers(batch, failed=failed):
            draft.write(line.encode() + b"\n")
        draft.flush()
        if not draft.tell():
            return None
        with mmap(draft.fileno(), 0, access=ACCESS_READ) as content:
            data = registry.seen_by(batch.owner).data
            return data.add(f"{batch.id}_{what}.jsonl", content, MADE).id
