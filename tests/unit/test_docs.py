"""What a user can set, call or run is written down."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import served
from engines import engine
from tiny import tiny_base

from deploy.settings import (
    NESTING,
    PREFIX,
    EngineSettings,
    LogSettings,
    RouterSettings,
    SamplingSettings,
    Settings,
    TraceSettings,
    TrainingSettings,
    VllmSettings,
)
from router.api.app import create_app
from router.exposition import QUEUES, TITLES, gathered
from router.metrics import Metrics

ENGINE_FIGURES = tuple(name for name in TITLES if name != "memory_bytes")
"""The process's memory is told by its replica."""
DOCS = Path(__file__).resolve().parents[2] / "docs"
ROOT = DOCS.parent


def settings():
    nested = {
        "engine": EngineSettings,
        f"engine{NESTING}vllm": VllmSettings,
        "router": RouterSettings,
        "sampling": SamplingSettings,
        "training": TrainingSettings,
        "logs": LogSettings,
        "traces": TraceSettings,
    }
    for name, field in Settings.model_fields.items():
        if name not in nested:
            yield f"{PREFIX}{name.upper()}", field.description
    for group, tree in nested.items():
        for name, field in tree.model_fields.items():
            if f"{group}{NESTING}{name}" in nested:
                continue
            yield f"{PREFIX}{group.upper()}{NESTING}{name.upper()}", field.description


@pytest.mark.parametrize(("name", "description"), list(settings()))
def test_every_setting_is_documented(name, description):
    assert f"| `{name}` |" in (DOCS / "settings.md").read_text()
    assert description in (DOCS / "settings.md").read_text()


def test_the_commands_are_documented_as_they_are():
    write = ["-m", "typer", "deploy.cli.app", "utils", "docs", "--name", "myriad"]
    shown = subprocess.run([sys.executable, *write], capture_output=True, text=True, cwd=ROOT)
    assert (DOCS / "commands.md").read_text().strip() == shown.stdout.strip(), (
        f"write it anew: python {' '.join(write)} --output docs/commands.md"
    )


def test_the_architecture_fits_on_one_page():
    assert len((DOCS / "architecture.md").read_text().splitlines()) <= 50


def test_what_the_architecture_names_is_there():
    text = (DOCS / "architecture.md").read_text()
    for path in re.findall(r"`((?:registry|router|specialists|deploy)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


def anchors(page):
    """What its headings are called in links."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name}: {target}"
            assert not heading or heading in anchors(there), f"{page.name}: {target}#{heading}"


def test_every_endpoint_is_documented(tmp_path):
    with served.service(tmp_path) as service:
        paths = create_app(service).openapi()["paths"]
    text = (DOCS / "api.md").read_text()
    for path, verbs in paths.items():
        for verb in verbs:
            assert f"| `{verb.upper()} {path}` |" in text


def test_every_metric_is_documented():
    own = Metrics().exposition(None)
    engines = {"e": dict.fromkeys(TITLES, 0)}
    queues = {name: {"queued": 0} for name in QUEUES}
    exposition = gathered({"r": own}, engines, queues).decode()
    text = (DOCS / "operations.md").read_text()
    for name in re.findall(r"^# HELP (\S+)", exposition, re.MULTILINE):
        assert f"| `{name}` |" in text


def test_the_engine_tells_the_figures_that_are_documented(tmp_path):
    assert set(engine(tiny_base(tmp_path), {}).stats()) == set(ENGINE_FIGURES)
