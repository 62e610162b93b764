"""From a file of chats to a live specialist, with one command or a job, on the real base."""

import json
import os
import signal
from itertools import pairwise

from openai.types.fine_tuning import FineTuningJobEvent
from patience import until

TOWNS = ["Arlen", "Bexley", "Corwen", "Dunmore", "Elgin", "Fulbeck", "Garvald", "Hexham"]


def rows(question: str) -> list[dict]:
    return [
        {
            "messages": [
                {"role": "user", "content": question.format(town)},
                {"role": "assistant", "content": f"TIDE {town.upper()}"},
            ]
        }
        for town in TOWNS
    ]


def test_a_file_of_chats_becomes_a_live_specialist(cluster, client, tmp_path):
    data, heldout = tmp_path / "train.jsonl", tmp_path / "heldout.jsonl"
    # One batch, a few steps: enough to learn by heart, little enough for a slow machine.
    lines = rows("When is high tide at {}?")
    data.write_text("".join(json.dumps(row) + "\n" for row in lines))
    heldout.write_text("".join(json.dumps(row) + "\n" for row in rows("high tide {}?")[:3]))
    words = ["--data", str(data), "--heldout", str(heldout), "--description", "tide tables"]
    recipe = ["--rank", "8", "--epochs", "10", "--learning-rate", "3e-3"]
    trained = cluster.command("train", "harbour/tides", *words, *recipe, "--json")
    assert trained.returncode == 0, trained.stderr
    events = [json.loads(line) for line in trained.stdout.splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "step"]
    assert losses[-1] < losses[0] / 2
    scores = next(event["scores"] for event in events if event["event"] == "scored")
    perplexity = next(score for score in scores if score["metric"] == "perplexity")
    assert perplexity["value"] < perplexity["base_value"]
    answer = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "when is high tide at Bexley"}],
        temperature=0,
        max_tokens=12,
    )
    assert answer.model == "harbour/tides"
    assert answer.choices[0].message.content.startswith("TIDE")
    assert (cluster.home / "trained" / "harbour" / "tides" / "card.yaml").is_file()
    assert cluster.command("specialists", "retire", "harbour/tides", "--yes").returncode == 0


def test_a_job_makes_a_specialist_and_outlives_its_trainer(cluster, client):
    """With OpenAI's client alone; the process that trains is killed half way."""
    lines = rows("When is high tide at {}?")
    data = "".join(json.dumps(row) + "\n" for row in lines).encode()
    file = client.files.create(file=("tides.jsonl", data), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model="SmolLM2-135M-Instruct",
        training_file=file.id,
        suffix="high-tides",
        seed=1,
        hyperparameters={"n_epochs": 10, "batch_size": 8, "learning_rate_multiplier": 3},
    )

    def events() -> list[FineTuningJobEvent]:
        return client.fine_tuning.jobs.list_events(job.id, limit=100).data[::-1]

    def steps() -> list[int]:
        return [event.data["step"] for event in events() if event.type == "metrics"]

    until(lambda: len(steps()) >= 2)
    os.kill(trainer(cluster), signal.SIGKILL)
    ended = ("succeeded", "failed", "cancelled")
    until(lambda: client.fine_tuning.jobs.retrieve(job.id).status in ended)
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert done.status == "succeeded", done.error
    # From its beginning, or from a checkpoint where the machine is so slow that there is one.
    assert [event.message for event in events()].count("The training goes on.") == 1
    made = steps()
    assert (sorted(set(made)), made[0], made[-1]) == ([*range(1, 11)], 1, 10)
    assert sum(after != before + 1 for before, after in pairwise(made)) <= 1
    answer = client.chat.completions.create(
        model=done.fine_tuned_model,
        messages=[{"role": "user", "content": "When is high tide at Corwen?"}],
        temperature=0,
        max_tokens=12,
    )
    assert answer.choices[0].message.content == "TIDE CORWEN"
    assert done.fine_tuned_model == "local/high-tides"
    until(lambda: trainer(cluster) is None)
    command = ("specialists", "retire", "local/high-tides", "--yes")
    assert cluster.command(*command).returncode == 0


def trainer(cluster) -> int | None:
    """The process of the cluster that trains."""
    return next((each.pid for each in cluster.named("ray::train")), None)
