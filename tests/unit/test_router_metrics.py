from router.metrics import LABELLED_SPECIALISTS, Metrics
from router.routing.decision import Decision


def test_labels_of_specialists_are_bounded():
    metrics = Metrics()
    for number in [*range(LABELLED_SPECIALISTS + 50), 0]:
        metrics.decided(Decision(f"a/n{number}", 1, "sha256:x", None, "named"), "base", "name")
    lines = metrics.exposition(None, {"running": 3}).decode().splitlines()
    counts = [line for line in lines if line.startswith("myriad_decisions_total")]
    assert len(counts) == LABELLED_SPECIALISTS + 1
    assert 'myriad_decisions_total{by="name",specialist="other"} 50.0' in counts
    assert 'myriad_decisions_total{by="name",specialist="a/n0"} 2.0' in counts
