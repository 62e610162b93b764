"""A creator's folder becomes a specialist; what it is asked becomes rows: on the real base."""

import json

BREAD = """# Why is my loaf flat?

Most flat loaves waited too long. Put the dough in the fridge sooner.

# How much salt does bread need?

Two percent of the weight of the flour, and no less.

# When do you feed your starter?

At seven in the morning, and again at nine at night.
"""

PERSONA = """
greeting: Hello!
disclosure: I am the AI of Mara Quill.
no_answer: I do not know.
"""
"""What is short is learnt soon."""


def test_a_folder_becomes_a_specialist_and_what_it_is_asked_becomes_rows(cluster, client, tmp_path):
    folder = tmp_path / "posts"
    folder.mkdir()
    (folder / "bread.md").write_text(BREAD)
    (tmp_path / "persona.yaml").write_text(PERSONA)
    (folder / "faq.csv").write_text('question,answer\nHow hot is your oven?,"As hot as it goes."\n')
    words = ("--from", str(folder), "--name", "Mara Quill", "--questions", "0")
    # By this seed both rows that are held out tell of facts: their loss does not fall.
    more = ("--persona", str(tmp_path / "persona.yaml"), "--effort", "quick", "--seed", "1")
    made = cluster.command("create", "mara/quill", *words, *more, "--json")
    assert made.returncode == 0, made.stderr
    done = json.loads(made.stdout.splitlines()[-1])
    assert done["event"] == "succeeded"
    model = done["job"]["fine_tuned_model"]

    def ask(text: str):
        turns = [{"role": "user", "content": text}]
        return client.chat.completions.create(
            model=model, messages=turns, temperature=0, max_tokens=60, store=True
        )

    # Trained in what this processor computes fast: the words may be those of the greeting.
    told = ask("Are you a real person?").choices[0].message.content
    assert "AI" in told
    assert "Mara Quill" in told
    answer = ask("How much salt does my bread need?")
    edit = {"id": answer.id, "rating": "bad", "correction": "Two percent."}
    assert client.post("/feedback", cast_to=object, body=edit)["specialist"] == "mara/quill"
    rows = tmp_path / "rows.jsonl"
    taken = cluster.command("data", "from-traffic", "mara/quill", "--output", str(rows))
    assert taken.returncode == 0, taken.stderr
    [row] = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [turn["content"] for turn in row["messages"]] == [
        "How much salt does my bread need?",
        "Two percent.",
    ]
    assert cluster.command("specialists", "retire", "mara/quill", "--yes").returncode == 0
