"""Whether a new version may take the place of the one in service, by its held-out scores."""

from collections.abc import Iterator, Sequence

from registry.gates import LOWER_IS_BETTER
from specialists.training.evaluate import PERPLEXITY, PREFERENCE, Score

JUDGED = ("exact_match", PERPLEXITY, PREFERENCE)


def shortcomings(scores: Sequence[Score]) -> Iterator[str]:
    """Why a version had better not be served, in sentences; none where it may be.

    The references must surprise it less than they do the bare base, and it must prefer what is
    preferred at least as often. Worse than what is in service it is only where that is sure: where
    what is in service scores better than the whole interval.
    """
    for score in scores:
        if _loses_to_the_base(score):
            yield (
                f"Its {score.metric} on {score.rows} held-out rows is {score.value:.3g}, the bare "
                f"base's {score.base_value:.3g}."
            )
        if score.metric in JUDGED and score.before_value is not None:
            yield from _worse(score, score.before_value)


def _loses_to_the_base(score: Score) -> bool:
    if score.metric == PREFERENCE:
        return score.value < score.base_value
    return score.metric == PERPLEXITY and score.value > score.base_value


def _worse(score: Score, before: float) -> Iterator[str]:
    lower = score.metric in LOWER_IS_BETTER
    if (score.low > before) if lower else (score.high < before):
        yield (
            f"Its {score.metric} on {score.rows} held-out rows is {score.value:.3g} "
            f"({score.low:.3g} to {score.high:.3g}), that of the version in service {before:.3g}."
        )
