"""How many engine replicas there should be."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve._private.common import DeploymentID
from ray.serve.config import AutoscalingContext

from deploy.scaling import FILLED, PRESSURE, replicas, wanted
from deploy.serve_app import _scale
from deploy.settings import EngineSettings


@pytest.mark.parametrize(
    ("pressures", "now", "expected"),
    [
        ([], 3, 3),  # nobody has told anything yet
        ([0.0], 1, 1),
        ([0.5, 0.5], 2, 2),
        ([9.0], 1, 13),  # nine steps' rows: eight of them wait
        ([1.4, 0.0], 2, 2),
        ([0.1, 0.1, 0.1, 0.1], 4, 1),
        ([1.0], 4, 6),  # those that have not told are taken to be like those that have
    ],
)
def test_as_many_as_are_filled_as_they_should_be(pressures, now, expected):
    assert wanted(pressures, now) == expected


@given(st.lists(st.floats(0, 20), min_size=1, max_size=30))
def test_so_many_suffice_and_one_less_would_not(pressures):
    found = wanted(pressures, len(pressures))
    assert sum(pressures) <= found * FILLED + 1e-6
    assert found == 1 or sum(pressures) > (found - 1) * FILLED - 1e-6


def test_the_policy_reads_what_serve_gives_it():
    context = AutoscalingContext(
        deployment_id=DeploymentID("engine", "myriad"), deployment_name="engine",
        app_name="myriad", current_num_replicas=2, target_num_replicas=2, running_replicas=[],
        total_num_requests=0, total_queued_requests=0,
        aggregated_metrics=lambda: {PRESSURE: {"a": 1.4, "b": 1.4}}, raw_metrics=None,
        capacity_adjusted_min_replicas=1, capacity_adjusted_max_replicas=9, policy_state={},
        last_scale_up_time=None, last_scale_down_time=None, current_time=None, config=None,
    )  # fmt: skip
    assert replicas(context) == (4, {})
    nothing = SimpleNamespace(aggregated_metrics=None, current_num_replicas=2)
    assert replicas(nothing) == (2, {})


def test_a_number_is_fixed_unless_there_may_be_more():
    assert _scale(EngineSettings(replicas=3)) == {"num_replicas": 3}
    config = _scale(EngineSettings(replicas=2, max_replicas=5))["autoscaling_config"]
    assert (config.min_replicas, config.max_replicas) == (2, 5)
    with pytest.raises(ValueError, match="must not be below"):
        EngineSettings(replicas=2, max_replicas=1)
