"""From the runs of a step to the tensors of a batch."""

from collections.abc import Sequence
from itertools import accumulate, groupby

import torch

from specialists.engine.batch import (
    Adapters,
    Attention,
    Batch,
    Copied,
    DecodeRows,
    PrefillRun,
    Segment,
)
from specialists.engine.core import Run, wanted
from specialists.engine.pages import PAGE_TOKENS, pages_needed
from specialists.engine.slots import SlotPool, Weights


def by_adapter(runs: Sequence[Run]) -> list[Run]:
    """Runs ordered so that those of one adapter stand together."""
    return sorted(runs, key=lambda run: run.row.adapter or "")


def build_batch(
    runs: Sequence[Run],
    device: torch.device,
    attention: Attention,
    adapters: Adapters | None = None,
) -> Batch:
    """Pack the runs into one batch; attention and adapters are of the same, in their order."""
    starts = starts_of(runs)
    tokens, positions, stores = _columns(runs)
    samples = [starts[at] + place for at, place in wanted(runs)]
    return Batch(
        tokens=torch.tensor(tokens, device=device),
        positions=torch.tensor(positions, device=device),
        stores=torch.tensor(stores, device=device),
        attention=attention,
        adapters=adapters,
        samples=torch.tensor(samples, device=device, dtype=torch.long),
    )


def copied(runs: Sequence[Run], device: torch.device) -> Copied:
    """Attention of the runs over copies of their pages."""
    starts = starts_of(runs)
    return Copied(_decode_rows(runs, starts, device), _prefills(runs, starts, device))


def starts_of(runs: Sequence[Run]) -> list[int]:
    """The place of each run's first token in the batch."""
    return list(accumulate((run.width for run in runs[:-1]), initial=0))


def segments_of(runs: Sequence[Run], slots: SlotPool[Weights]) -> list[Segment[Weights]]:
    """Which tokens of the runs (ordered by adapter) go through which adapter."""
    segments = []
    numbered = zip(starts_of(runs), runs, strict=True)
    for digest, group in groupby(numbered, key=lambda pair: pair[1].row.adapter):
        members = list(group)
        if digest is not None:
            end = members[-1][0] + members[-1][1].width
            segments.append(Segment(slice(members[0][0], end), slots[digest]))
    return segments


def _columns(runs: Sequence[Run]) -> tuple[list[int], list[int], list[int]]:
    tokens: list[int] = []
    positions: list[int] = []
    stores: list[int] = []
    for run in runs:
        first, pages = run.row.computed, run.row.pages
        span = range(first, first + run.width)
        tokens += run.ids
        positions += span
        stores += [pages[at // PAGE_TOKENS] * PAGE_TOKENS + at % PAGE_TOKENS for at in span]
    return tokens, positions, stores


def _decode_rows(runs: Sequence[Run], starts: list[int], device: torch.device) -> DecodeRows | None:
    rows = [(start, run) for start, run in zip(starts, runs, strict=True) if run.width == 1]
    if not rows:
        return None
    lengths = [run.row.computed + 1 for _, run in rows]
    width = pages_needed(max(lengths))
    columns = torch.arange(width * PAGE_TOKENS, device=device)
    visible = columns < torch.tensor(lengths, device=device)[:, None]
    return DecodeRows(
        places=torch.tensor([start for start, _ in rows], device=device),
        table=torch.tensor([padded(run.row.pages, width) for _, run in rows], device=device),
        mask=visible[:, None, None],
    )


def _prefills(
    runs: Sequence[Run], starts: list[int], device: torch.device
) -> tuple[PrefillRun, ...]:
    prefills = []
    for start, run in zip(starts, runs, strict=True):
        if run.width > 1:
            end = run.row.computed + run.width
            width = pages_needed(end)
            columns = torch.arange(width * PAGE_TOKENS, device=device)
            positions = torch.arange(run.row.computed, end, device=device)
            prefills.append(
                PrefillRun(
                    places=slice(start, start + run.width),
                    table=torch.tensor([run.row.pages[:width]], device=device),
                    mask=columns <= positions[:, None],
                )
            )
    return tuple(prefills)


def padded(pages: list[int], width: int) -> list[int]:
    """The first of a row's pages, and to make up the number any of them."""
    # Any page of the row itself will do: its keys are finite unless the row is lost anyway.
    return pages[:width] + [pages[0]] * (width - len(pages))
