from deploy.patience import Patience


def test_patience_lasts_as_long_as_something_moves():
    now = [0.0]
    patience = Patience(10, clock=lambda: now[0])
    for step in range(100):
        now[0] += 9
        assert not patience.is_over(f"step {step}")
    now[0] += 9
    assert not patience.is_over("step 99")
    now[0] += 2
    assert patience.is_over("step 99")


def test_patience_with_what_never_says_anything_ends():
    now = [0.0]
    patience = Patience(10, clock=lambda: now[0])
    assert not patience.is_over("{}")
    now[0] = 10.5
    assert patience.is_over("{}")
