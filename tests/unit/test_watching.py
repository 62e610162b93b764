"""What `status --watch` shows: every engine, and how fast it goes."""

import json

import pytest
from rich.console import Console

from deploy.cli import watching
from deploy.cli.figures import Figures
from deploy.cli.output import Output
from deploy.errors import ServerUnreachable
from router.exposition import gathered
from router.metrics import Metrics
from router.routing.decision import Decision

FIRST = {"generated_tokens_total": 100, "running": 3, "waiting": 1, "pages": 100, "pages_free": 25}


def looks(*engines):
    metrics = Metrics()
    metrics.decided(Decision("a/b", 1, "sha256:x", None, "named"), "base", "name")
    own = metrics.exposition(None)
    return [gathered({"r1": own, "r2": own}, each).decode() for each in engines]


class Client:
    url = "http://x"

    def __init__(self, *answers):
        self.answers = list(answers)

    def metrics(self):
        if not self.answers:
            raise KeyboardInterrupt
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch):
    monkeypatch.setattr(watching.time, "sleep", lambda _: None)
    now = iter(range(1000))
    monkeypatch.setattr(watching.time, "monotonic", lambda: next(now))


def test_figures_of_replicas_are_added_up():
    [text] = looks({"e1": FIRST, "e2": FIRST})
    found = Figures.read(text)
    assert (found.routers, sorted(found.engines)) == (2, ["e1", "e2"])
    assert found.answers == {"a/b": 2}
    assert found.total("running") == 6


def test_programs_get_one_object_after_another(capsys):
    later = {"e1": FIRST | {"generated_tokens_total": 150}, "e2": FIRST}
    client = Client(*looks({"e1": FIRST}, later), ServerUnreachable("away"), *looks(later))
    with pytest.raises(KeyboardInterrupt):
        watching.watch(client, Output(as_json=True))
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    speeds = {name: own["tokens_per_second"] for name, own in found[0]["engines"].items()}
    # One that has just come has no speed yet.
    assert speeds == {"e1": 50.0, "e2": 0.0}
    assert found[1] == {"message": "away"}
    assert found[2]["engines"]["e1"]["tokens_per_second"] == 0


def test_people_see_every_engine():
    before, now = map(Figures.read, looks({"e1": FIRST}, {"e1": FIRST | {"steps_total": 1}}))
    console = Console(width=120, record=True)
    console.print(watching.view(watching.Pace(now, before, 1.0), "http://x"))
    text = console.export_text()
    for shown in ("2 routers, 1 engines", "e1", "75%", "a/b 2"):
        assert shown in text
