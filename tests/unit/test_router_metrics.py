from router.exposition import gathered
from router.metrics import LABELLED_SPECIALISTS, Metrics
from router.routing.decision import Decision


def test_labels_of_specialists_are_bounded():
    metrics = Metrics()
    for number in [*range(LABELLED_SPECIALISTS + 50), 0]:
        metrics.decided(Decision(f"a/n{number}", 1, "sha256:x", None, "named"), "base", "name")
    lines = metrics.exposition(None).decode().splitlines()
    counts = [line for line in lines if line.startswith("myriad_decisions_total")]
    assert len(counts) == LABELLED_SPECIALISTS + 1
    assert 'myriad_decisions_total{by="name",specialist="other"} 50.0' in counts
    assert 'myriad_decisions_total{by="name",specialist="a/n0"} 2.0' in counts


def lines_of(*figures):
    return gathered(*figures).decode().splitlines()


def test_figures_of_all_replicas_are_told_apart():
    one, two = Metrics(), Metrics()
    for metrics, count in (one, 1), (two, 2):
        for _ in range(count):
            metrics.decided(Decision("a/b", 1, "sha256:x", None, "named"), "base", "name")
    found = lines_of(
        {"r1": one.exposition(None), "r2": two.exposition(None)},
        {"e1": {"running": 3, "steps_total": 7}, "e2": {"running": 0, "steps_total": 5, "new": 1}},
    )
    for line in (
        'myriad_decisions_total{by="name",replica="r1",specialist="a/b"} 1.0',
        'myriad_decisions_total{by="name",replica="r2",specialist="a/b"} 2.0',
        'myriad_engine_running{replica="e1"} 3.0',
        'myriad_engine_steps_total{replica="e2"} 5.0',
        'myriad_engine_new{replica="e2"} 1.0',
        "myriad_router_replicas 2.0",
        "myriad_engine_replicas 2.0",
        "# TYPE myriad_engine_steps_total counter",
        "# TYPE myriad_engine_running gauge",
    ):
        assert line in found, line
    assert len([line for line in found if line.startswith("# TYPE myriad_decisions_total")]) == 1
    assert not any("_created" in line for line in found)


def test_nobody_that_answers_is_told_too():
    assert "myriad_engine_replicas 0.0" in lines_of({}, {})


def test_jobs_and_batches_are_told_by_how_far_they_are():
    queues = {"training_jobs": {"queued": 2, "failed": 0}, "batches": {"in_progress": 1}}
    found = lines_of({}, {}, queues)
    assert 'myriad_training_jobs{status="queued"} 2.0' in found
    assert 'myriad_training_jobs{status="failed"} 0.0' in found
    assert 'myriad_batches{status="in_progress"} 1.0' in found
    assert not any("training" in line for line in lines_of({}, {}))


def test_what_auto_chooses_and_what_fits_nobody_is_counted():
    metrics = Metrics()
    fits = Decision("a/b", 1, "sha256:x", 0.93, "nearest")
    for decision in fits, Decision(None, None, None, 0.2, "base"):
        metrics.decided(decision, "base", "auto")
    text = metrics.exposition(None).decode()
    assert "myriad_abstentions_total 1.0" in text
    assert 'myriad_decision_probability_bucket{le="0.9"} 0.0' in text
    assert 'myriad_decision_probability_bucket{le="0.95"} 1.0' in text
