"""The image that is rendered: built and run by Docker, by its README's own commands.

`make test-image`; skipped where no Docker answers. It takes minutes, and port 8000 of this machine.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
from patience import until

from deploy.rendering.docker import docker_files
from deploy.rendering.files import USER, Target, write
from deploy.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]
NAME = "myriad-image-test"
URL = "http://127.0.0.1:8000"
COACH = [{"role": "user", "content": "I was offered 62k but hoped for 70k, what do I say?"}]


def run(*words: str, folder: Path | None = None) -> str:
    """What a command prints."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def answers() -> bool:
    """Whether there is a Docker that does what it is told."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "info"], capture_output=True).returncode == 0


def is_ready() -> bool:
    try:
        return httpx.get(f"{URL}/readyz", trust_env=False).is_success
    except httpx.HTTPError:
        return False


@dataclass
class Service:
    """The composed service, and the key that was made for it."""

    folder: Path
    key: str

    def compose(self, *words: str) -> str:
        command = ("docker-compose",) if shutil.which("docker-compose") else ("docker", "compose")
        return run(*command, *words, folder=self.folder)

    def start(self) -> None:
        self.compose("up", "--detach")
        until(is_ready)

    def state(self, field: str) -> str:
        container = self.compose("ps", "--all", "--quiet").strip()
        return run("docker", "inspect", "--format", "{{" + field + "}}", container).strip()

    def client(self, key: str | None = None) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{URL}/v1", api_key=key or self.key, max_retries=0)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    if not answers():
        pytest.skip("no Docker answers")
    folder = tmp_path_factory.mktemp("docker")
    settings = read_settings(home=tmp_path_factory.mktemp("home"))
    write(docker_files(Target(settings, NAME, f"{NAME}:latest")), folder)
    [commands] = re.findall(r"```sh\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    build, make_key, up, _ = [line.partition("#")[0].split() for line in commands.splitlines()]
    run(*(str(ROOT) if word == "/path/to/source" else word for word in build), folder=folder)
    made = Service(folder, "")
    try:
        assert make_key[:2] == up[:2] == ["docker", "compose"]
        made.key = re.search(r"mk_\w+", made.compose(*make_key[2:]))[0]
        made.compose(*up[2:])
        until(is_ready)
        yield made
    finally:
        made.compose("down", "--volumes")
        run("docker", "image", "rm", f"{NAME}:latest")


def test_it_answers_who_has_a_key(service):
    with service.client() as client:
        answer = client.chat.completions.create(model="auto", messages=COACH, max_tokens=8)
        assert answer.model == "demo/salary-coach"
    with service.client("mk_nobody") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_nobody_is_root_and_it_says_that_it_is_well(service):
    assert service.compose("exec", "-T", NAME, "id", "-u").strip() == str(USER)
    until(lambda: service.state(".State.Health.Status") == "healthy")


def test_what_it_held_outlives_being_killed(service):
    run("docker", "kill", service.compose("ps", "--quiet").strip())
    service.start()
    with service.client() as client:
        assert "demo/salary-coach" in {model.id for model in client.models.list()}


def test_it_ends_when_it_is_asked_to(service):
    service.compose("stop")
    assert service.state(".State.ExitCode") == "0"
    assert service.state(".State.OOMKilled") == "false"
    service.start()
