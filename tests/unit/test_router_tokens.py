"""Texts as the base reads them, told over HTTP by a replica with a tokenizer."""

from contextlib import closing
from pathlib import Path

import httpx
import pytest
from engines import SMALL
from scripted import ScriptedEngine
from served import BASE, register, served, service
from test_thought_limits import Replica
from tiny import tiny_base
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from deploy.engine_replica import _param, _refusal
from registry.scopes import Scope
from router.engine import Delta, Usage
from specialists.engine.runner import Runner
from specialists.errors import EngineError

CHAT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "naïve 🦙"}]
DICE = {"type": "function", "function": {"name": "dice", "parameters": {"type": "object"}}}


class Reads(ScriptedEngine):
    """Answers as a replica does."""

    def __init__(self, replica):
        super().__init__()
        self.replica = replica

    async def generate(self, generation):
        self.generations.append(generation)
        try:
            async for item in self.replica._answer(generation):
                yield item
        except EngineError as error:
            raise _refusal(error, _param(generation)) from error


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The tokenizer of a base that has a token before its prompts."""
    folder = tiny_base(tmp_path_factory.mktemp("base")).folder
    made = AutoTokenizer.from_pretrained(folder)
    first = (made.bos_token, made.bos_token_id)
    made.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{made.bos_token} $A", special_tokens=[first]
    )
    made.save_pretrained(folder)
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory, theirs):
    folder = Path(theirs.name_or_path)
    with (
        closing(Runner.from_folder(folder, {}.__getitem__, SMALL, max_waiting=4)) as runner,
        service(tmp_path_factory.mktemp("home")) as made,
    ):
        made.engine = Reads(Replica(runner))
        yield made


@pytest.fixture(scope="module")
def http(made):
    with served(made) as url, httpx.Client(base_url=url) as http:
        yield http


def tokens(http, **fields):
    answer = http.post("/tokenize", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(http, path, **fields):
    answer = http.post(path, json=fields)
    return answer.status_code, answer.json()["error"]["param"]


@pytest.mark.parametrize("text", ["hello there", "naïve 🦙", "", "a<|im_end|>b"])
def test_a_text_has_the_tokens_of_a_prompt(http, theirs, text):
    wanted = theirs(text)["input_ids"]
    assert wanted[0] == theirs.bos_token_id
    assert tokens(http, model=BASE, prompt=text) == {
        "count": len(wanted),
        "max_model_len": theirs.model_max_length,
        "tokens": wanted,
        "token_strs": None,
    }
    bare = tokens(http, prompt=text, add_special_tokens=False, return_token_strs=True)
    assert bare["tokens"] == wanted[1:]
    assert bare["token_strs"] == theirs.convert_ids_to_tokens(wanted[1:])


def test_a_conversation_has_the_tokens_that_an_answer_is_to(http, made, theirs):
    wanted = theirs.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    assert tokens(http, model="bob/weather", messages=CHAT)["tokens"] == wanted
    with_tools = tokens(http, messages=CHAT, tools=[DICE], max_tokens=5)
    assert with_tools["count"] > len(wanted)
    counted = made.engine.generations[-1]
    assert (counted.n, len(counted.tool_use.tools)) == (0, 1)
    assert not made.engine.expected


def test_tokens_are_told_as_text(http, theirs):
    said = theirs("naïve 🦙")["input_ids"]
    answer = http.post("/detokenize", json={"model": BASE, "tokens": said})
    assert answer.json() == {"prompt": f"{theirs.bos_token}naïve 🦙"}


@pytest.mark.parametrize(
    ("path", "fields", "found"),
    [
        ("/tokenize", {}, (400, "prompt")),
        ("/tokenize", {"prompt": "a", "messages": CHAT}, (400, "prompt")),
        ("/tokenize", {"prompt": 5}, (400, "prompt")),
        ("/tokenize", {"prompt": "a", "model": "nobody/here"}, (404, "model")),
        ("/tokenize", {"prompt": "a " * 9000}, (400, "messages")),
        ("/tokenize", {"messages": []}, (400, "messages")),
        ("/detokenize", {"tokens": [10**6]}, (400, "tokens")),
        ("/detokenize", {"tokens": [-1]}, (400, "tokens[0]")),
        ("/detokenize", {"tokens": []}, (400, "tokens")),
        ("/detokenize", {}, (400, "tokens")),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(http, path, fields, found):
    assert refused(http, path, **fields) == found


def test_it_takes_a_place(http, made):
    made.engine.full = True
    try:
        assert http.post("/tokenize", json={"prompt": "a"}).status_code == 429
    finally:
        made.engine.full = False


def test_an_engine_that_says_nothing_of_it_is_not_taken_for_one(tmp_path):
    with service(tmp_path) as made, served(made) as url, httpx.Client(base_url=url) as http:
        made.engine.script = lambda _: [Delta(0, "a", 0), Usage(1, 0)]
        assert http.post("/tokenize", json={"prompt": "a"}).status_code == 503


def test_a_private_specialist_reads_for_nobody_else(tmp_path):
    with service(tmp_path) as made, served(made) as url, httpx.Client(base_url=url) as http:
        register(made.registry, "ada/secret")
        made.follower.refresh()
        bob = made.registry.keys.create("bob", [Scope.INFER], "bob")[1]
        asked = {"model": "ada/secret", "prompt": "a"}
        headers = {"Authorization": f"Bearer {bob}"}
        assert http.post("/tokenize", json=asked, headers=headers).status_code == 404
