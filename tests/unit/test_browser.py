"""What a page of another origin can do in a real browser: nothing, unless it is allowed to."""

import json
import subprocess
from urllib.parse import urlsplit

import pytest
from browsing import CHROMIUM, needs_chromium
from patience import HANGS
from served import BASE, served, service
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route
from web import serve

from router.api.access import AccessRules

pytestmark = needs_chromium

CHAT = {"model": BASE, "messages": [{"role": "user", "content": "hi"}]}
PAGE = """<!doctype html><title>waiting</title><script type="module">
const url = %(url)s, chat = %(chat)s
const tell = async (name, options, path) => {
  try {
    const answer = await fetch(url + path, options)
    const text = await answer.text()
    return [name, answer.status, text.length, answer.headers.get("x-request-id") !== null]
  } catch (error) { return [name, "blocked"] }
}
const form = new FormData(); form.append("card", "id: evil/bot")
document.title = JSON.stringify([
  await tell("read", {}, "/v1/specialists"),
  await tell("chat", {method: "POST", headers: {"content-type": "application/json"},
                      body: chat}, "/v1/chat/completions"),
  await tell("simple", {method: "POST", mode: "no-cors", body: chat}, "/v1/chat/completions"),
  await tell("upload", {method: "POST", mode: "no-cors", body: form}, "/v1/specialists"),
  await tell("retire", {method: "DELETE"}, "/v1/specialists/ada/french"),
])
</script>"""


class Page:
    """A page on a server of its own, whose script tries to use the API at `api`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.api = ""

    def html(self) -> str:
        return PAGE % {"url": json.dumps(self.api), "chat": json.dumps(json.dumps(CHAT))}


@pytest.fixture
def page():
    async def show(_request):
        return HTMLResponse(page.html())

    with serve(Starlette(routes=[Route("/", show)])) as own:
        page = Page(urlsplit(own).port)
        yield page


@pytest.fixture
def browse(tmp_path):
    """Opens an address in the browser and gives the document; `*.example` is this machine."""

    def browsed(address: str) -> str:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        options += [f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=20000"]
        options += ["--host-resolver-rules=MAP *.example 127.0.0.1", "--dump-dom", address]
        done = subprocess.run([CHROMIUM, *options], capture_output=True, text=True, timeout=HANGS)
        return done.stdout

    return browsed


def tried(document: str) -> dict[str, list]:
    """What the page's script tried, and what came of it."""
    title = document.partition("<title>")[2].partition("</title>")[0]
    assert title.startswith("["), document
    return {name: rest for name, *rest in json.loads(title)}


@pytest.fixture
def made(tmp_path):
    with service(tmp_path / "home") as made:
        yield made


def untouched(made) -> bool:
    there = {live.id for live in made.registry.live()}
    return made.engine.generations == [] and there == {"ada/french", "bob/weather"}


def test_a_page_from_elsewhere_reads_nothing_and_changes_nothing(made, page, browse):
    with served(made) as page.api:
        found = tried(browse(f"http://evil.example:{page.port}/"))
    assert found["read"] == found["chat"] == found["retire"] == ["blocked"]
    assert untouched(made), found


def test_a_page_that_calls_us_by_its_own_name_is_refused(made, browse):
    """DNS rebinding: to the browser the API is then of the page's own origin."""
    with served(made) as url:
        document = browse(f"http://evil.example:{urlsplit(url).port}/v1/models")
    assert "host_not_allowed" in document
    assert "ada/french" not in document


def test_an_allowed_page_uses_it_all(made, page, browse):
    origin = f"http://friend.example:{page.port}"
    with served(made, access=AccessRules(origins=(origin,))) as page.api:
        found = tried(browse(f"{origin}/"))
    assert found["read"][0] == found["chat"][0] == 200
    assert found["read"][2] is found["chat"][2] is True, "x-request-id is not shown to the page"
    assert len(made.engine.generations) == 1, "the simple request was not JSON"
    assert found["retire"][0] in (200, 204)
