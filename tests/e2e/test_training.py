"""From a file of chats to a live specialist, with one command, on the real base."""

import json

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
