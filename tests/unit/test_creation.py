"""What people wrote and said, as material, a persona, and rows to learn from."""

import asyncio
import csv
import io
import json
import re
import struct
import time
import zlib
from contextlib import suppress

import homes
import pytest
import tiny_adapter
from cli_world import Terminal, live, myriad
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from test_distillation import said, trained_on
from tiny import tiny_base
from web import serve

from registry.base import BaseSpec
from registry.card import Card
from registry.job import Creation, Status, Task
from registry.persona import Persona
from specialists.creation import character_card, portable
from specialists.creation.character_card import character, in_picture, read_picture, written
from specialists.creation.creation import Asking, created
from specialists.creation.material import MOST_WORDS, Exchange, Material, Passage, pieces
from specialists.creation.persona import PERSONA, completed
from specialists.creation.readers import READERS, read_material
from specialists.errors import TrainingDataError
from specialists.training import gathering
from specialists.training import teacher as teachers
from specialists.training.data import rows_of
from specialists.training.notebook import Notebook
from specialists.training.teacher import Address, Teacher
from specialists.training.trainer import Trainer

VOICE = "Mara Quill"


def silent(*_):
    """Tell nobody."""


@pytest.fixture
def found(tmp_path):
    def read(name, content):
        file = tmp_path / "from" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_material([tmp_path / "from"], VOICE, silent)

    return read


def asked(material):
    return [(each.request, each.answer, each.source) for each in material.exchanges]


def passages(material):
    return [(each.title, each.text, each.source) for each in material.passages]


BREAD = """---
title: notes
---
Before any heading there are these eight words here.

# Why is my loaf *flat*?

Most loaves are [overproofed](https://x).
Poke the dough.

## Salt

Two percent of the weight of the flour, no less than that.

- Rye wakes a sleepy starter.
- Cold slows it.

## Short

Too short.
"""


def test_markdown_is_cut_at_its_headings(found):
    material = found("posts/bread.md", BREAD)
    assert asked(material) == [
        (
            "Why is my loaf flat?",
            "Most loaves are overproofed. Poke the dough.",
            "posts/bread.md, Why is my loaf flat?",
        )
    ]
    assert passages(material) == [
        ("", "Before any heading there are these eight words here.", "posts/bread.md"),
        (
            "Salt",
            "Two percent of the weight of the flour, no less than that.\n"
            "- Rye wakes a sleepy starter.\n- Cold slows it.",
            "posts/bread.md, Salt",
        ),
    ]
    assert material.unused == ()


TALK = """Host: When did you start?
Mara: When I was nine.
I shaped the rolls.
Host: And on Sundays?
Mara Quill: A seeded rye.
"""


def test_a_transcript_is_what_was_said_to_the_one_whose_voice_it_is(found):
    material = found("talk.txt", TALK)
    assert asked(material) == [
        ("When did you start?", "When I was nine. I shaped the rolls.", "talk.txt, line 2"),
        ("And on Sundays?", "A seeded rye.", "talk.txt, line 5"),
    ]
    assert not material.passages


def test_questions_and_answers_need_no_names(found):
    material = found(
        "faq.md", "**Q:** Tap water?\n\n**A:** Yes, mostly.\n\nQ: Salt?\nA: Two percent."
    )
    assert [pair[:2] for pair in asked(material)] == [
        ("Tap water?", "Yes, mostly."),
        ("Salt?", "Two percent."),
    ]


def test_a_dialogue_of_others_is_not_used(found):
    material = found("others.txt", "Ann: hi\nBob: hello\nAnn: well?\nBob: fine\n")
    assert material == Material(unused=("others.txt: nobody there is Mara Quill, but Ann, Bob",))


def test_a_text_with_colons_is_no_dialogue(found):
    text = "Flour: five hundred grams of it.\n" + "Then fold it once more and wait.\n" * 4
    assert len(found("recipe.txt", text).passages) == 1


SRT = """1
00:00:01,000 --> 00:00:04,000
Good evening, and <i>welcome</i> to my kitchen.

2
00:00:04,500 --> 00:00:09,000
Good evening, and welcome to my kitchen.

3
00:01:05,000 --> 00:01:09,000
Tonight I fold
a wet dough &amp; wait.
"""
VTT = """WEBVTT

NOTE not said

01:02.000 --> 01:03.000
<v Host>When did you start?

01:04.000 --> 01:08.000 align:start
<v Mara Quill>When I was nine.
"""


def test_subtitles_have_the_time_as_their_source(found):
    material = found("talk.srt", SRT)
    assert passages(material) == [
        (
            "",
            "Good evening, and welcome to my kitchen. Tonight I fold a wet dough & wait.",
            "talk.srt, 00:00:01",
        )
    ]
    assert asked(found("talk.vtt", VTT)) == [
        ("When did you start?", "When I was nine.", "talk.vtt, 01:04")
    ]


def pdf(*pages):
    """A document with a line of text on each page."""
    kids = " ".join(f"{3 + 2 * at} 0 R" for at in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
    ]
    font = "<< /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >>"
    for at, lines in enumerate(pages):
        page = f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources {font} "
        objects.append(f"{page}/Contents {4 + 2 * at} 0 R >>".encode())
        shown = " T* ".join(f"({line}) Tj" for line in lines)
        stream = f"BT /F1 12 Tf 14 TL 50 700 Td {shown} ET"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream".encode())
    body, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    trailer = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (size, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n%s" % (size, table) + trailer


def test_pdf_is_read_page_by_page(found):
    first = ["A wet dough is folded with-", "out adding any flour at all", "to the bench."]
    second = ["Two percent of the weight of the flour, no less."]
    assert passages(found("book.pdf", pdf(first, second))) == [
        (
            "",
            "A wet dough is folded without adding any flour at all to the bench.",
            "book.pdf, page 1",
        ),
        ("", "Two percent of the weight of the flour, no less.", "book.pdf, page 2"),
    ]


def test_a_pdf_of_pages_without_end_is_given_up(found, monkeypatch):
    monkeypatch.setattr(portable, "READ_SECONDS", 0.0)
    [unused] = found("book.pdf", pdf(["A line."], ["Another."])).unused
    assert "send it in parts" in unused


POST = "My new book on crackers and flatbreads is out in May."


def test_rows_of_fields_are_posts_or_questions_or_chats(found):
    chat = [{"role": "user", "content": "Salt?"}, {"role": "assistant", "content": "Two percent."}]
    posts = {"posts": [{"title": "New book", "body": POST, "likes": 3}, {"messages": chat}]}
    material = found("archive.json", json.dumps(posts))
    assert passages(material) == [("New book", POST, "archive.json, posts, 1")]
    assert asked(material) == [("Salt?", "Two percent.", "archive.json, posts, 2")]


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_tables_may_be_separated_by_anything(found, between):
    file = io.StringIO()
    writer = csv.writer(file, delimiter=between)
    writer.writerows([["Question", "Answer"], ["How hot, and why?", "As hot; as\nit goes"]])
    material = found("faq.csv", file.getvalue())
    assert asked(material) == [("How hot, and why?", "As hot; as\nit goes", "faq.csv, row 1")]


def test_a_row_with_too_many_fields_is_named(found):
    material = found("faq.csv", "question,answer\na?,b, c\nd?,e\n")
    assert asked(material) == [("d?", "e", "faq.csv, row 2")]
    assert material.unused[0].startswith("faq.csv, row 1: has more fields")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_texts_of_other_encodings_are_read(found, encoding):
    text = "Über süße Brötchen schreibe ich schon seit vielen Jahren, und zwar täglich. " * 4
    [passage] = found("text.txt", text.encode(encoding)).passages
    assert "süße Brötchen" in passage.text


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.bin", b"\0\1", "files of that kind are not read"),
        ("x.md", b"\0\1\2\xff\xfe\0", "is not text"),
        ("x.json", b"{", "is not JSON"),
        ("x.json", b"[" * 100_000, "is not JSON|nested too deeply"),
        ("x.json", b"[" * 900 + b"]" * 900, "no field with text|nested too deeply"),
        ("x.jsonl", b'{"a": ' * 900 + b"1" + b"}" * 900, "no field with text|nested too deeply"),
        ("x.json", b'{"a": 1}', "has no field with text .*; it has a"),
        ("x.jsonl", b'{"text": "a"}\nnonsense', "is not JSON in line 2"),
        ("x.csv", b"a,b\n1,2", "has no field with text .*; it has a, b"),
        ("x.csv", b"", "has no field with text .*; it has nothing"),
        ("x.pdf", b"%PDF-1.4 nonsense", "cannot be read as PDF"),
        ("x.pdf", pdf([""]), "has no text, only pictures"),
        ("x.srt", b"hello", "has no subtitles"),
        ("x.png", b"hello", "is no PNG picture"),
    ],
)
def test_what_cannot_be_used_is_named_and_the_rest_is_used(found, name, content, said):
    found("good.txt", TALK)
    material = found(f"a/{name}", content)
    [reason] = material.unused
    assert re.search(f"^a/{name}: .*({said})", reason)
    assert len(material.exchanges) == 2


def test_what_nobody_sees_is_taken_out(found):
    rows = [
        {"question": "What\x07 is\x0c salt?", "answer": "A \x1bspice."},
        {"prompt": "empty?", "completion": " "},
        {"text": f"Two\x0cpages. {POST}", "title": "A\x7ftitle"},
    ]
    material = found("rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert asked(material) == [("What  is  salt?", "A  spice.", "rows.jsonl, line 1")]
    assert passages(material) == [("A title", f"Two pages. {POST}", "rows.jsonl, line 3")]
    # As a card takes it.
    assert completed(Persona(), VOICE, material.exchanges).voice[0].answer == "A  spice."


def test_hidden_files_are_left_out(found):
    assert found(".git/config.md", BREAD) == Material()


@given(name=st.sampled_from(sorted(READERS)), content=st.binary(max_size=300))
def test_no_content_breaks_a_reader(name, content):
    # It may say that it is of no use; anything else would end the reading of all.
    with suppress(ValueError):
        READERS[name](content, f"x{name}", VOICE)


CUE = "1\n00:00:01,000 --> 00:00:02,000\n"
LONG_READS = {
    "tags that never end": lambda: READERS[".srt"](f"{CUE}{'<' * 200_000}".encode(), "x", VOICE),
    "voices that never end": lambda: READERS[".vtt"](f"{CUE}{'<v ' * 70_000}".encode(), "x", VOICE),
    "one who speaks on and on": lambda: READERS[".txt"](
        f"Note: so\n{'and on ' * 8}\n".encode() + b"and on and on and on and on\n" * 160_000,
        "x",
        VOICE,
    ),
    "pages of blank lines": lambda: portable._flowing("a" + "\n " * 100_000 + "b"),
    "dialogues of blank lines": lambda: character_card._labelled("\n" * 200_000, "char", "x", "A"),
}


@pytest.mark.parametrize("read", LONG_READS.values(), ids=LONG_READS)
def test_time_grows_with_what_is_read_and_no_faster(read):
    began = time.thread_time()
    with suppress(ValueError):
        read()
    # Where it grows with the square it takes minutes, or many seconds at least.
    assert time.thread_time() - began < 5


@given(st.lists(st.text(st.sampled_from("ab .!?"), max_size=400), max_size=6))
def test_passages_hold_all_words_in_order(paragraphs):
    long = list(pieces([*paragraphs, "x " * 8]))
    whole = " ".join(" ".join(paragraphs).split() + ["x"] * 8)
    kept = " ".join(" ".join(each.split()) for each in long)
    assert all(len(each.split()) >= 8 for each in long)
    # Only what is too short is left out, and that is less than eight words at a time.
    assert kept.endswith("x x x x x x x x")
    assert set(kept.split()) <= set(whole.split())
    sentences = [len(part.split()) for each in paragraphs for part in re.split(r"[.!?]", each)]
    assert all(len(each.split()) <= max([MOST_WORDS, *sentences]) for each in long)


# Personas


FOUND = [Exchange(f"Question {n}?", f"Answer {n}.", "x") for n in range(20)]


def test_a_persona_is_completed_with_what_was_found():
    given_ = Persona(greeting="Ahoy!", avoids=("politics",))
    made = completed(given_, VOICE, FOUND)
    assert (made.name, made.greeting) == (VOICE, "Ahoy!")
    assert made.starters == ("Question 0?", "Question 5?", "Question 10?", "Question 15?")
    assert len({each.answer for each in made.voice}) == 8
    assert "AI" in made.disclosure
    assert VOICE in made.disclosure
    assert completed(made, "Another", []) == made


def rows(made):
    return [json.loads(line) for line in made.rows.splitlines()]


def create(material, given_=None, asking=None):
    return asyncio.run(created(material, given_ or Persona(), VOICE, asking, silent))


def test_rows_have_sources_and_say_what_the_persona_always_says():
    passage = Passage("Two percent.", "bread.md, Salt", "Salt")
    again = Exchange("question  3?", "Another answer.", "y")
    material = Material((passage, Passage("No title.", "z")), (*FOUND, again))
    made = create(material, Persona(avoids=("politics",)))
    found = {row["messages"][0]["content"]: row for row in rows(made)}
    assert found["Question 3?"]["messages"][1]["content"] == "Answer 3."
    assert found["Salt"] | {"messages": 0} == {"messages": 0, "source": "bread.md, Salt"}
    assert found["What do you say about Salt?"]["messages"][1]["content"] == "Two percent."
    assert found["Are you Mara Quill?"]["messages"][1]["content"] == made.persona.disclosure
    assert "politics" in found["Tell me about politics."]["messages"][1]["content"]
    assert found["Hi"]["source"] == PERSONA
    nothing = [row for row in rows(made) if row["messages"][1]["content"] == made.persona.no_answer]
    assert len(nothing) == 23 // 4
    assert made.untitled == 1
    assert made.count == len(found) == len(rows_of(made.rows, "rows"))
    # What anybody is asked brings no requests.
    routed = {row.first_request for row in rows_of(made.rows, "rows") if row.routes}
    assert routed == {f"Question {n}?" for n in range(20)} | {"Salt", "What do you say about Salt?"}


@pytest.mark.parametrize(
    ("material", "message"),
    [
        (Material(unused=("a: b",)), "nothing was found to learn from\n  a: b"),
        (Material((Passage("No title.", "z"),)), "1 passages were found, but neither"),
    ],
)
def test_nothing_is_made_of_nothing(material, message):
    with pytest.raises(TrainingDataError, match=re.escape(message)):
        create(material)


# Interviews


class Reader:
    """A teacher who asks about each passage, and answers with its words."""

    def __init__(self):
        self.asked = []
        self.questions = "1. How much salt is needed?\n2. Who are you?\n- Why two percent?"
        self.answer = "Two percent of the weight of the flour."
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.chat)

    async def chat(self, request: Request):
        prompt = (await request.json())["messages"][-1]["content"]
        self.asked.append(prompt)
        return said(self.questions if "wrote this" in prompt else self.answer)


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
def url(reader, monkeypatch):
    monkeypatch.setattr(teachers, "FIRST_WAIT_SECONDS", 0.001)
    with serve(reader.app) as url:
        yield f"{url}/v1"


SALT = Passage("Two percent of the weight of the flour, so much salt.", "bread.md, Salt")


@pytest.fixture
def interviewed(url):
    def made(material, *, own_words=False, budget=10_000):
        async def asking():
            async with Teacher(url, "large", Notebook(), budget=budget) as teacher:
                who = Asking(teacher, 3, own_words)
                return await created(material, Persona(about="A baker."), VOICE, who, silent)

        return asyncio.run(asking())

    return made


def exchanged(made):
    return [
        (*(turn["content"] for turn in row["messages"]), row["source"])
        for row in rows(made)
        if row["source"] != PERSONA
    ]


def test_a_teacher_asks_and_answers_from_the_passage(interviewed, reader):
    made = interviewed(Material((SALT,), tuple(FOUND[:1])))
    assert exchanged(made)[1:] == [
        ("How much salt is needed?", reader.answer, "bread.md, Salt"),
        ("Why two percent?", reader.answer, "bread.md, Salt"),
    ]
    # It knows who it speaks for, how, and nothing else.
    assert all(text in reader.asked[1] for text in ("A baker.", "Answer 0.", SALT.text, VOICE))
    assert made.interview.tokens == 30
    assert made.persona.starters[1] == "How much salt is needed?"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("NONE.", "not in the material"),
        ("Elephants remember everything forever.", "not grounded"),
        ("  ", "empty"),
    ],
)
def test_answers_that_do_not_stand_there_are_left_out(interviewed, reader, answer, why):
    reader.answer = answer
    made = interviewed(Material((SALT,), tuple(FOUND[:1])))
    assert len(exchanged(made)) == 1
    assert made.interview.rejected[why] == 2
    assert made.interview.rejection_rate == 1.0
    with pytest.raises(TrainingDataError, match=f"nothing that the teacher said .* 2 {why}"):
        interviewed(Material((SALT,)))


def test_the_served_base_asks_and_the_passage_answers(interviewed, reader):
    made = interviewed(Material((SALT,)), own_words=True)
    assert exchanged(made) == [("How much salt is needed?", SALT.text, "bread.md, Salt")]
    assert len(reader.asked) == 1


def test_a_passage_of_which_nobody_asks_goes_by_its_title(interviewed, reader):
    reader.questions = "I have no questions."
    titled = Passage(SALT.text, "bread.md, Salt", "Salt")
    made = interviewed(Material((SALT, titled)))
    assert [each[0] for each in exchanged(made)] == ["Salt", "What do you say about Salt?"]
    assert (made.untitled, made.interview.rejected["no question"]) == (1, 2)


def test_what_the_budget_does_not_reach_is_told(interviewed):
    many = (Passage(f"{SALT.text} {n}", f"{n}.md") for n in range(teachers.AT_ONCE + 4))
    made = interviewed(Material(tuple(many)), own_words=True, budget=1)
    assert made.interview.stopped == "4 passages were left out: the budget of 1 tokens is spent"
    assert made.count > teachers.AT_ONCE


# Character Cards


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


PICTURE = b"\x89PNG\r\n\x1a\n" + b"".join(
    [
        chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        chunk(b"tEXt", b"Comment\0hello"),
        chunk(b"IDAT", zlib.compress(b"\0\0")),
        chunk(b"IEND", b""),
    ]
)
MARA = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Mara",
        "description": "{{char}} bakes for {{user}}.",
        "personality": "calm",
        "scenario": "",
        "first_mes": "Hello {{user}}, I am <BOT>.",
        "mes_example": "<START>\n{{user}}: Salt?\n{{char}}: Two percent.\nNo less.\n"
        "<START>\n{{user}}: And water?\n{{char}}: Cold, {{user}}.",
        "tags": ["bread", 3, ""],
        "character_book": {
            "entries": [
                {"keys": ["rye"], "content": "Rye wakes {{char}}'s starter.", "enabled": True},
                {"keys": ["x"], "content": "Hidden.", "enabled": False},
                "nonsense",
            ]
        },
        "extensions": {"myriad": {"avoids": ["politics"]}, "other": 1},
    },
}


def test_a_character_card_is_a_persona_with_examples_and_a_book():
    material = character(MARA, "mara.json")
    [found] = material.characters
    assert found.persona == Persona(
        name="Mara",
        about="Mara bakes for you.\ncalm",
        greeting="Hello you, I am Mara.",
        avoids=("politics",),
    )
    assert found.tags == ("bread",)
    assert asked(material) == [
        ("Salt?", "Two percent. No less.", "mara.json"),
        ("And water?", "Cold, you.", "mara.json"),
    ]
    assert passages(material) == [("rye", "Rye wakes Mara's starter.", "mara.json, rye")]


def test_the_first_version_of_the_format_is_read(found):
    assert found("mara.json", json.dumps(MARA["data"])).characters[0].persona.name == "Mara"


def test_a_picture_carries_a_card_and_stays_a_picture(found):
    carrying = in_picture(in_picture(PICTURE, {"spec": "old"}), MARA)
    assert read_picture(carrying, "mara.json", VOICE) == character(MARA, "mara.json")
    assert carrying.count(b"chara\0") == 1
    assert b"Comment\0hello" in carrying
    assert found("mara.png", carrying).characters[0].persona.name == "Mara"


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (PICTURE, "no Character Card"),
        (PICTURE + b"\0", "damaged PNG"),
        (PICTURE[:-12] + chunk(b"tEXt", b"chara\0!!"), "damaged Character Card"),
    ],
)
def test_pictures_without_a_card_are_named(picture, message):
    with pytest.raises(ValueError, match=message):
        read_picture(picture, "mara.png", VOICE)


LINES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)
PERSONAS = st.builds(
    Persona,
    name=LINES,
    about=LINES,
    greeting=LINES,
    starters=st.lists(LINES, max_size=3).map(tuple),
    disclosure=LINES,
    avoids=st.lists(LINES, max_size=3).map(tuple),
    no_answer=LINES,
)


@given(PERSONAS, st.lists(st.tuples(LINES, LINES), max_size=4))
def test_a_card_that_was_written_is_read_again(persona, pairs):
    voice = [{"request": f"{asks}?", "answer": f"{told}."} for asks, told in pairs]
    whole = Persona.model_validate(persona.model_dump() | {"voice": voice})
    card = Card.of({"id": "a/b", "description": "x", "tags": ["t"], "persona": whole.model_dump()})
    material = character(json.loads(json.dumps(written(card, 2))), "x")
    assert material.characters[0].persona == persona
    assert material.characters[0].tags == card.tags
    assert [(each.request, each.answer) for each in material.exchanges] == [
        (each.request, each.answer) for each in whole.voice
    ]


# The command


@pytest.fixture
def material(tmp_path, monkeypatch):
    folder = tmp_path / "mara"
    folder.mkdir()
    (folder / "bread.md").write_text(BREAD)
    (folder / "talk.txt").write_text(TALK)
    (folder / "photo.bin").write_bytes(b"x")
    (tmp_path / "persona.yaml").write_text("greeting: Ahoy!\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MYRIAD_HOME", str(tmp_path / "home"))
    return folder


COMMAND = ("create", "mara/quill", "--from", "mara", "--name", VOICE)


def test_rows_and_card_are_there_to_be_looked_at(material, tmp_path):
    words = ("--persona", "persona.yaml", "--avoid", "politics", "--questions", "0", "--no-train")
    ran = myriad(*COMMAND, *words)
    assert ran.code == 0, ran.err
    for text in ("3 answers, 2 passages", "1 without a title", "photo.bin: files of that", "Ahoy!"):
        assert text in ran.out
    folder = tmp_path / "home/created/mara/quill"
    card = Card.parse((folder / "card.yaml").read_bytes())
    assert card.persona.avoids == ("politics",)
    assert card.persona.greeting == "Ahoy!"
    assert "When did you start?" in card.examples
    assert len(rows_of((folder / "rows.jsonl").read_bytes(), "rows")) == 6 + 8 + 4 + 2 + 3 + 2


def test_from_a_folder_to_a_specialist_with_one_command(
    material, url, reader, tmp_path, monkeypatch
):
    words = ("--teacher", url, "--teacher-model", "large", "--license", "mit", "--effort", "quick")
    with trained_on(tmp_path, monkeypatch) as server:
        ran = myriad(*COMMAND, *words)
        assert ran.code == 0, ran.err + ran.out
        for text in ("Asking about the material 2/2", "succeeded"):
            assert text in ran.out
        job = server.registry.jobs.list(1)[0][0]
        assert job.status == Status.SUCCEEDED
        made = server.registry.versions("mara/quill")[0]
        card = server.registry.card(made.digest)
        assert card.persona.name == VOICE
        [teacher] = card.origins.teachers
        assert (teacher.name, teacher.license) == ("large", "mit")
        assert teacher.tokens == 10 * len(reader.asked)
        assert "Hi" not in card.private_examples


@pytest.fixture
def speaking(tmp_path, monkeypatch):
    """A server with a specialist that has a persona."""
    persona = {"name": VOICE, "greeting": "Ahoy!", "disclosure": "I am an AI."}
    with live(tmp_path / "server") as server:
        card = tiny_adapter.card(id="mara/quill", description="Bakes.", persona=persona)
        server.registry.register(card, tiny_adapter.config(), tiny_adapter.weights(seed=9))
        server.follower.refresh()
        monkeypatch.setenv("MYRIAD_URL", server.url)
        yield server


def test_a_specialist_is_taken_elsewhere_as_a_character_card(speaking, material, tmp_path):
    (tmp_path / "portrait.png").write_bytes(PICTURE)
    export = ("specialists", "export", "mara/quill@1")
    assert myriad(*export, "mara.json").code == 0
    assert json.loads((tmp_path / "mara.json").read_text())["data"]["first_mes"] == "Ahoy!"
    assert myriad(*export, "mara.png", "--picture", "portrait.png").code == 0
    [found] = read_material([tmp_path / "mara.png"], VOICE, silent).characters
    assert found.persona.disclosure == "I am an AI."
    assert "--picture" in myriad(*export, "other.png").err
    assert "is no PNG" in myriad(*export, "other.png", "--picture", "mara.json").err
    words = ("--from", "mara.json", "--from", "mara", "--questions", "0", "--no-train")
    assert "Ahoy!" in myriad("create", "mara/two", *words).out


def test_a_conversation_begins_with_a_greeting(speaking):
    talked = myriad("chat", "--model", "mara/quill@1", stdin=Terminal("/quit\n"))
    assert talked.out == "Ahoy!\nI am an AI.\n> "
    assert myriad("chat", "--model", "no/body", stdin=Terminal("/quit\n")).out == "> "


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "empty"], "nothing was found to learn from"),
        (["--from", "mara", "--teacher", "http://127.0.0.1:1/v1"], "say whom to ask there"),
        (["--from", "mara", "--persona", "bad.yaml", "--questions", "0"], "mood"),
        (["--from", "nowhere"], "does not exist"),
    ],
)
def test_what_cannot_be_created_is_refused(material, tmp_path, words, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.yaml").write_text("mood: calm\n")
    ran = myriad("create", "mara/quill", *words, "--no-train")
    assert ran.code != 0
    assert said in ran.err


# By the server


@pytest.fixture
def by_server(tmp_path, url):
    """A registry of a tiny base, and what asks for a creation and has it done."""
    base = tiny_base(tmp_path / "tiny-llama")
    registry = homes.open_registry(tmp_path / "home", BaseSpec.from_folder(base.folder, base.name))
    teachers = {"large": Address(url, "large", "mine", "llama3.1")}

    def asked(files, card=None, removed=False, **wanted):
        kept = [registry.data.add(name, said.encode(), "user_data").id for name, said in files]
        creation = Creation(files=tuple(kept), **wanted)
        fields = {"hyperparameters": {"n_epochs": 1, "rank": 2}, "card": card or {}}
        task = Task(model=base.name, training_file=kept[0], creation=creation, **fields)
        job = registry.jobs.create("mara/quill", task)
        if removed:
            registry.data.remove(kept[-1])
        assert Trainer(registry, base, "me", teachers=teachers).work()
        return registry.jobs.get(job.id)

    yield registry, asked
    registry.close()


BREAD_AND_MORE = [
    ("bread.md", "# How much salt?\n\nTwo percent of the weight of the flour.\n"),
    ("folder/faq.csv", "question,answer\nHow hot is your oven?,As hot as it goes.\n"),
    ("faq.csv", "question,answer\nWhen do you bake?,On Mondays.\n"),
    ("tool.exe", "MZ"),
]


def test_the_server_makes_a_specialist_of_files(by_server):
    registry, asked = by_server
    wanted = {"description": "Bakes.", "persona": {"name": "Mara Q.", "avoids": ["politics"]}}
    job = asked(BREAD_AND_MORE, wanted)
    assert job.status == Status.SUCCEEDED, job.error
    card = registry.card(registry.versions("mara/quill")[0].digest)
    persona = card.persona
    assert (persona.name, persona.avoids) == ("Mara Q.", ("politics",))
    assert card.description == "Bakes."
    assert card.origins.teachers == ()
    learnt = rows_of(registry.data.path(job.task.training_file).read_bytes(), "rows")
    answers = {row.first_request: row.answer.content for row in learnt}
    assert answers["How hot is your oven?"] == "As hot as it goes."
    assert answers["When do you bake?"] == "On Mondays."
    assert answers["How much salt?"] == "Two percent of the weight of the flour."
    told = [event.message for event in registry.jobs.events(job.id, 100)[0]]
    assert "tool.exe: files of that kind are not read" in told


def test_a_job_is_cancelled_while_files_are_read(by_server, monkeypatch):
    registry, asked = by_server

    def cancelled(_paths, _voice, report):
        registry.jobs.cancel(registry.jobs.list(1)[0][0].id)
        while True:
            report("Reading", 1, 2)

    monkeypatch.setattr(gathering, "read_material", cancelled)
    assert asked(BREAD_AND_MORE).status == Status.CANCELLED


def test_the_server_has_a_teacher_ask_about_files(by_server, reader):
    registry, asked = by_server
    files = [("salt.md", f"# Salt\n\n{SALT.text}\n"), BREAD_AND_MORE[1]]
    job = asked(files, {"persona": None}, teacher="large")
    assert job.status == Status.SUCCEEDED, job.error
    card = registry.card(registry.versions("mara/quill")[0].digest)
    [teacher] = card.origins.teachers
    assert (teacher.name, teacher.license, teacher.tokens) == ("large", "llama3.1", 30)
    assert card.persona.name == "Quill"
    assert len(reader.asked) == 3


@pytest.mark.parametrize(
    ("files", "wanted", "code"),
    [
        (BREAD_AND_MORE, {"removed": True}, "file_not_found"),
        (BREAD_AND_MORE[3:], {}, "invalid_creation"),
        (BREAD_AND_MORE, {"teacher": "gone"}, "teacher_failed"),
    ],
)
def test_a_creation_that_cannot_be_done_says_why(by_server, files, wanted, code):
    _, asked = by_server
    job = asked(files, **wanted)
    assert (job.error["code"], job.error["param"]) == (code, "creation")
