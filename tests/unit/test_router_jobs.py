"""`/v1/files` and `/v1/fine_tuning/jobs`, driven by OpenAI's own client."""

import openai
import pytest
from openai import omit
from served import BASE, http_client, served, service

from registry import limits
from registry.job import Distillation, Status
from registry.scopes import Scope
from router import keyring
from router.api import data_files

ROWS = b'{"messages": [{"role": "user", "content": "hi"}]}\n'


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(keyring, "FRESH_SECONDS", 0.0)
    with service(tmp_path) as made:
        yield made


@pytest.fixture
def url(made):
    with served(made) as url:
        yield url


def connected(url, key="unused"):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


@pytest.fixture
def client(url):
    with connected(url) as client:
        yield client


@pytest.fixture
def rows(client):
    return client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune").id


def refused(call, *words, **fields):
    """What a refusal says: status, code and param."""
    with pytest.raises(openai.APIStatusError) as caught:
        call(*words, **fields)
    return caught.value.status_code, caught.value.code, caught.value.param


def test_files_are_sent_listed_read_and_forgotten(client):
    sent = [
        client.files.create(file=(f"{number}.jsonl", ROWS * number), purpose="fine-tune")
        for number in (1, 2, 3)
    ]
    assert (sent[0].filename, sent[0].bytes, sent[0].status) == (
        "1.jsonl",
        len(ROWS),
        "processed",
    )
    assert client.files.retrieve(sent[0].id) == sent[0]
    assert client.files.content(sent[1].id).read() == ROWS * 2
    assert [file.id for file in client.files.list(limit=2)] == [file.id for file in sent[::-1]]
    assert [file.id for file in client.files.list(order="asc", limit=1).data] == [sent[0].id]
    assert client.files.list(purpose="batch").data == []
    assert client.files.delete(sent[0].id).deleted
    assert refused(client.files.retrieve, sent[0].id) == (404, "file_not_found", "id")
    assert client.files.wait_for_processing(sent[1].id).id == sent[1].id


def test_files_that_cannot_be_taken_are_refused(client, url, monkeypatch):
    create = client.files.create
    assert refused(create, file=("a", ROWS), purpose="vision") == (400, "invalid_value", "purpose")
    assert refused(create, file=("a", b""), purpose="fine-tune") == (400, "empty_file", "file")
    long = "x" * 300
    assert refused(create, file=(long, ROWS), purpose="fine-tune")[1] == "invalid_filename"
    with http_client(url) as http:
        missing = http.post("/v1/files", data={"purpose": "fine-tune"}, files={"x": b"x"})
        assert missing.json()["error"]["code"] == "unknown_parameter"
        missing = http.post("/v1/files", files={"purpose": (None, "fine-tune")})
        assert missing.json()["error"]["param"] == "file"
        assert http.post("/v1/files", json={}).json()["error"]["code"] == "invalid_content_type"
    monkeypatch.setattr(data_files, "MAX_DATA_BYTES", 100)
    assert refused(create, file=("a", b"x" * (1 << 17)), purpose="fine-tune")[0] == 413
    assert client.files.list().data == []


def test_a_job_is_noted_as_it_was_asked_for(client, rows, made):
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=rows,
        validation_file=rows,
        suffix="Tides",
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        hyperparameters={"learning_rate_multiplier": 2, "batch_size": "auto"},
        metadata={"team": "sea"},
    )
    assert (job.status, job.model, job.seed, job.metadata) == ("queued", BASE, 7, {"team": "sea"})
    assert (job.training_file, job.validation_file) == (rows, rows)
    assert job.hyperparameters.n_epochs == 3
    assert job.hyperparameters.batch_size == "auto"
    assert job.hyperparameters.learning_rate_multiplier == 2
    assert (job.fine_tuned_model, job.finished_at, job.error) == (None, None, None)
    assert job.model_extra["specialist"] == "local/tides"
    assert client.fine_tuning.jobs.retrieve(job.id) == job
    taken = made.registry.queue.take("me")
    assert (taken.task.seed, taken.task.hyperparameters) == (
        7,
        {"n_epochs": 3, "learning_rate_multiplier": 2},
    )
    assert client.fine_tuning.jobs.retrieve(job.id).status == "validating_files"


def test_a_job_may_learn_from_preferences(client, rows, made):
    of_method = {"hyperparameters": {"beta": 0.5, "n_epochs": 2}}
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=rows, method={"type": "dpo", "dpo": of_method}
    )
    assert job.method.type == "dpo"
    assert job.method.dpo.hyperparameters.beta == 0.5
    assert job.method.dpo.hyperparameters.n_epochs == 2
    task = made.registry.queue.take("me").task
    assert (task.method, task.hyperparameters) == ("dpo", {"beta": 0.5, "n_epochs": 2})


def test_a_job_may_have_a_teacher_asked(client, made):
    made.teachers = ("large",)
    wish = {"teacher": "large", "prompts": ["the sky", "grass"], "judge": False}
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=omit, extra_body={"distillation": wish}
    )
    assert job.model_extra["distillation"] == {"teacher": "large"}
    taken = made.registry.queue.take("me")
    asked = Distillation.model_validate_json(made.registry.queue.content(taken.training))
    assert (asked.prompts, asked.count, asked.judged) == (("the sky", "grass"), 2, False)
    assert (taken.task.distils, taken.task.training_file) == ("large", job.training_file)


def test_a_job_may_make_its_rows_of_files(client, made):
    made.teachers = ("large",)
    sent = [
        client.files.create(file=(name, b"# Salt\n\nTwo percent."), purpose="user_data").id
        for name in ("bread.md", "more.md")
    ]
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=omit,
        suffix="quill",
        extra_body={"creation": {"files": sent, "teacher": "large", "questions": 2}},
    )
    wanted = {"files": sent, "teacher": "large", "questions": 2, "budget": 500_000}
    assert job.model_extra["creation"] == wanted
    assert made.registry.queue.take("me").task.creation.files == tuple(sent)
    assert [each.purpose for each in client.files.list()] == ["user_data"] * 2
    unknown = {"creation": {"files": [*sent, "file-x"]}}
    create = client.fine_tuning.jobs.create
    said = refused(create, model=BASE, training_file=omit, extra_body=unknown)
    assert said[:2] == (404, "file_not_found")


def test_rows_are_made_of_no_more_than_a_file_may_have(client, rows, monkeypatch):
    monkeypatch.setattr("router.api.jobs.MAX_DATA_BYTES", 10)
    create = client.fine_tuning.jobs.create
    body = {"creation": {"files": [rows]}}
    said = refused(create, model=BASE, training_file=omit, extra_body=body)
    assert (said[0], said[2]) == (400, "creation.files")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"creation": {"files": []}}, "creation.files"),
        ({"creation": {"files": ["a"], "teacher": "other"}}, "creation.teacher"),
        ({"creation": {"files": ["a"], "questions": 21}}, "creation.questions"),
        ({"creation": {"files": ["a"]}, "training_file": "file-1"}, "creation"),
        (
            {"creation": {"files": ["a"]}, "distillation": {"teacher": "large", "brief": "x"}},
            "creation",
        ),
        ({"creation": {"files": ["a"]}, "method": {"type": "dpo"}}, "creation"),
        ({"distillation": {"teacher": "other", "brief": "x"}}, "distillation.teacher"),
        ({"distillation": {"teacher": "large"}}, "distillation.brief"),
        ({"distillation": {"teacher": "large", "brief": "x", "budget": 0}}, "distillation.budget"),
        (
            {"distillation": {"teacher": "large", "brief": "x"}, "method": {"type": "dpo"}},
            "distillation",
        ),
        (
            {"distillation": {"teacher": "large", "brief": "x"}, "training_file": "file-1"},
            "distillation",
        ),
        ({}, "training_file"),
    ],
)
def test_rows_that_cannot_be_had_are_refused(client, made, wrong, param):
    made.teachers = ("large",)
    create = client.fine_tuning.jobs.create
    said = refused(create, model=BASE, training_file=omit, extra_body=wrong)
    assert (said[0], said[2]) == (400, param)


def test_what_came_of_a_job_is_shown(client, rows, made):
    job = client.fine_tuning.jobs.create(model="ada/french", training_file=rows)
    taken = made.registry.queue.take("me")
    assert taken.task.parent == made.registry.get("ada/french").digest
    metrics = {"step": 4, "train_loss": 0.5}
    made.registry.queue.hear(
        taken, "me", Status.RUNNING, None, [("info", "metrics", "Step 4", metrics)]
    )
    made.registry.queue.succeed(
        taken,
        "me",
        {
            "model": "ada/french",
            "trained_tokens": 10,
            "hyperparameters": {"n_epochs": 4.0, "learning_rate_multiplier": 1.0},
            "result_files": ["file-x"],
            "checkpoints": [{"step": 4, "model": "ada/french@2", "metrics": metrics}],
        },
    )
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.fine_tuned_model) == ("succeeded", "ada/french")
    assert (done.trained_tokens, done.result_files) == (10, ["file-x"])
    assert done.finished_at >= done.created_at
    assert done.hyperparameters.n_epochs == 4
    events = client.fine_tuning.jobs.list_events(job.id, limit=2)
    assert events.has_more
    assert [event.message for event in events][:2] == [
        "The job has successfully completed",
        "Step 4",
    ]
    assert len(list(client.fine_tuning.jobs.list_events(job.id, limit=2))) == 4
    [checkpoint] = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert checkpoint.fine_tuned_model_checkpoint == "ada/french@2"
    assert (checkpoint.step_number, checkpoint.metrics.train_loss) == (4, 0.5)


def test_a_job_that_failed_says_why(client, rows, made):
    job = client.fine_tuning.jobs.create(model=BASE, training_file=rows)
    taken = made.registry.queue.take("me")
    made.registry.queue.fail(taken, "me", "invalid_training_file", "Line 1", "training_file")
    failed = client.fine_tuning.jobs.retrieve(job.id)
    assert failed.status == "failed"
    assert failed.error.model_dump() == {
        "code": "invalid_training_file",
        "message": "Line 1",
        "param": "training_file",
    }


def test_jobs_are_paused_resumed_and_cancelled(client, rows):
    jobs = client.fine_tuning.jobs
    job = jobs.create(model=BASE, training_file=rows)
    assert jobs.pause(job.id).status == "paused"
    assert refused(jobs.pause, job.id) == (409, "invalid_status", None)
    assert jobs.resume(job.id).status == "queued"
    assert jobs.cancel(job.id).status == "cancelled"
    for call in (jobs.cancel, jobs.pause, jobs.resume):
        assert refused(call, job.id) == (409, "invalid_status", None)
    assert refused(jobs.retrieve, "ftjob-none") == (404, "job_not_found", "id")


def test_jobs_are_listed_a_page_at_a_time(client, rows):
    jobs = client.fine_tuning.jobs
    asked = [
        jobs.create(model=BASE, training_file=rows, metadata={"team": team}).id
        for team in ("a", "b", "a")
    ]
    assert [job.id for job in jobs.list(limit=1)] == asked[::-1]
    assert [job.id for job in jobs.list(metadata={"team": "a"})] == [asked[2], asked[0]]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model": "ada/none"}, (404, "model_not_found", "model")),
        ({"training_file": "file-none"}, (404, "file_not_found", "id")),
        ({"validation_file": "file-none"}, (404, "file_not_found", "id")),
        ({"suffix": "no/good"}, (400, "invalid_value", "suffix")),
        ({"suffix": "-"}, (400, "invalid_value", "suffix")),
        ({"extra_body": {"specialist": "x"}}, (400, "invalid_value", "specialist")),
        ({"extra_body": {"effort": "much"}}, (400, "invalid_value", "effort")),
        ({"hyperparameters": {"n_epochs": 0}}, (400, "invalid_value", "hyperparameters.n_epochs")),
        ({"hyperparameters": {"rank": "x"}}, (400, "invalid_value", "hyperparameters.rank")),
        ({"metadata": {str(n): "x" for n in range(17)}}, (400, "invalid_value", "metadata")),
        ({"seed": -1}, (400, "invalid_value", "seed")),
        (
            {"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]},
            (400, "unsupported_parameter", "integrations"),
        ),
        ({"extra_body": {"card": {"evaluation": []}}}, (400, "invalid_card", "card.evaluation")),
        ({"extra_body": {"card": {"x": 1}}}, (400, "invalid_card", "card.x")),
        (
            {"extra_body": {"card": {"persona": {"mood": 1}}}},
            (400, "invalid_card", "card.persona.mood"),
        ),
        (
            {"method": {"type": "reinforcement"}},
            (400, "invalid_value", "method.type"),
        ),
        (
            {"method": {"type": "dpo"}, "extra_body": {"instruction": "be brief"}},
            (400, "invalid_value", "instruction"),
        ),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}},
            (400, "invalid_value", "method.dpo.hyperparameters.beta"),
        ),
    ],
)
def test_jobs_that_cannot_be_done_are_refused(client, rows, wrong, said):
    fields = {"model": BASE, "training_file": rows} | wrong
    status, code, param = refused(client.fine_tuning.jobs.create, **fields)
    assert (status, code) == said[:2]
    assert said[2] is None or param == said[2]
    assert client.fine_tuning.jobs.list().data == []


def test_each_owner_sees_their_own(made, url):
    keys = {
        owner: made.registry.keys.create("x", [Scope.WRITE], owner)[1] for owner in ("ada", "bob")
    }
    with connected(url, keys["ada"]) as ada, connected(url, keys["bob"]) as bob:
        rows = ada.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune").id
        job = ada.fine_tuning.jobs.create(model=BASE, training_file=rows, suffix="tides")
        assert job.model_extra["specialist"] == "ada/tides"
        assert job.organization_id == "ada"
        assert bob.files.list().data == []
        assert bob.fine_tuning.jobs.list().data == []
        assert refused(bob.files.content, rows)[0] == 404
        assert refused(bob.fine_tuning.jobs.cancel, job.id)[0] == 404
        create = bob.fine_tuning.jobs.create
        assert refused(create, model=BASE, training_file=rows)[1] == "file_not_found"
        # What another keeps private is not there to be trained on from.
        assert refused(create, model="ada/french", training_file=rows)[1] == "model_not_found"
        mine = bob.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune").id
        named = {"specialist": "ada/tides"}
        assert refused(create, model=BASE, training_file=mine, extra_body=named)[1] == "not_owned"


def test_the_limit_is_of_the_file(url, monkeypatch):
    assert data_files.MAX_DATA_BYTES == limits.MAX_DATA_BYTES
    monkeypatch.setattr(data_files, "MAX_DATA_BYTES", len(ROWS))
    with connected(url) as client:
        assert client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune").bytes
