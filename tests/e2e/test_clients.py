"""Other people's clients, unmodified, on a real cluster; docs/clients.md lists them."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from patience import HANGS

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = sorted((ROOT / "tests" / "clients").glob("drive_*.py"))
PYTHON = ROOT / ".venv-clients" / "bin" / "python"


@pytest.fixture(scope="module")
def driven(cluster, tmp_path_factory):
    """What each of them says, of two at a time: most of it is Python importing what they need."""

    def drive(driver):
        return subprocess.run(
            [PYTHON, driver, cluster.url],
            env=os.environ | {"HOME": str(tmp_path_factory.mktemp("home"))},
            capture_output=True,
            text=True,
            timeout=HANGS,
        )

    with ThreadPoolExecutor(2) as pool:
        yield {driver: pool.submit(drive, driver) for driver in DRIVERS}


@pytest.mark.skipif(not PYTHON.exists(), reason="`make test` installs the clients")
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.stem.removeprefix("drive_"))
def test_a_client_works_as_it_is(driven, driver):
    done = driven[driver].result()
    assert done.returncode == 0, done.stdout + done.stderr


TITLE = """### Task:
Generate a concise, 3-5 word title with an emoji summarizing the chat history.
### Output:
JSON format: { "title": "your concise title here" }
### Chat History:
<chat_history>
USER: fix the crash when the settings file is empty
ASSISTANT: Fix crash on empty settings file
</chat_history>"""


def test_open_webui_is_answered_as_it_asks(cluster):
    with cluster.http() as http:
        http.headers["authorization"] = "Bearer sk-anything"
        models = http.get("/v1/models").json()["data"]
        assert {"auto", "demo/commit-message"} <= {model["id"] for model in models}
        chat = {
            "stream": True,
            "model": "auto",
            "messages": [{"role": "user", "content": "fix the crash on an empty settings file"}],
            "stream_options": {"include_usage": True},
            "max_tokens": 20,
        }
        with http.stream("POST", "/v1/chat/completions", json=chat) as answer:
            lines = [line for line in answer.iter_lines() if line]
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert lines[-1] == "data: [DONE]"
        assert json.loads(lines[-2].removeprefix("data: "))["usage"]["completion_tokens"] > 0
        title = {
            "model": "auto",
            "messages": [{"role": "user", "content": TITLE}],
            "stream": False,
            "max_completion_tokens": 20,
        }
        answer = http.post("/v1/chat/completions", json=title).json()
        # An interface's own question is not for the specialist of the chat that it is about.
        assert answer["routing"]["specialist"] is None
        vectors = http.post(
            "/v1/embeddings", json={"input": ["a", "b"], "model": "all-MiniLM-L6-v2"}
        )
        assert len(vectors.json()["data"]) == 2
