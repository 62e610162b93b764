"""The threads of a service, apart by what they do: slow uploads must not hold up routing."""

from router.pool import Pool


class Pools:
    """One for each purpose; to be closed.

    Attributes:
        routing: decides. Its threads mostly wait for a text to be read, which is done for all of
            them at once.
        reading: asks the registry, in moments: whose key it is, who has a name.
        exporting: reads what is large: bundles, files, kept conversations, the tree of all
            specialists, the whole audit log.
        writing: changes it, in moments.
        uploading: checks and stores what was uploaded, which takes as long as its files are large.
        refreshing: brings routes up to date, which takes as long as new examples are many.
        embedding: reads texts for their vectors.
        maintenance: looks through the whole registry, for its operator.
        batches: reads the requests of batches, and writes their files.
        spelling: writes JSON: an answer with a million log probabilities takes seconds.
    """

    def __init__(self) -> None:
        self.routing = Pool("routing", 16)
        self.reading = Pool("reading", 4)
        self.exporting = Pool("exporting", 2)
        self.writing = Pool("writing", 2)
        self.uploading = Pool("uploading", 2)
        self.refreshing = Pool("refreshing", 1)
        self.embedding = Pool("embedding", 1)
        self.maintenance = Pool("maintenance", 1)
        self.batches = Pool("batches", 1)
        self.spelling = Pool("spelling", 1)

    def close(self) -> None:
        """Take no more work; what was begun goes on to its end."""
        for each in vars(self).values():
            each.close()
