"""The files that a batch leaves: of answers, and of refusals."""

import tempfile
from mmap import ACCESS_READ, mmap

from registry.batch import Batch
from registry.data_files import ANSWERS, DataFiles
from registry.registry import Registry


def keep(registry: Registry, batch: Batch) -> tuple[str | None, str | None]:
    """Make files of what was told of a batch; gives their ids, None for one without a line.

    Those that were made before whoever made them was lost are taken as they are.
    """
    own = registry.seen_by(batch.owner).data
    output = _file(registry, own, batch, "output", failed=False)
    return output, _file(registry, own, batch, "error", failed=True)


def _file(
    registry: Registry, own: DataFiles, batch: Batch, what: str, *, failed: bool
) -> str | None:
    name = f"{batch.id}_{what}.jsonl"
    if (made := own.named(name, ANSWERS)) is not None:
        return made.id
    with tempfile.TemporaryFile() as draft:
        for line in registry.batch_queue.answers(batch, failed=failed):
            draft.write(line.encode() + b"\n")
        draft.flush()
        if not draft.tell():
            return None
        with mmap(draft.fileno(), 0, access=ACCESS_READ) as content:
            return own.add(name, content, ANSWERS).id
