"""What a user can set, call or run is written down."""

from pathlib import Path

import pytest
from typer.main import get_command

from deploy.cli.app import app
from deploy.settings import NESTING, PREFIX, EngineSettings, RouterSettings, Settings

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROOT = DOCS.parent


def settings():
    nested = {"engine": EngineSettings, "router": RouterSettings}
    for name, field in Settings.model_fields.items():
        if name not in nested:
            yield f"{PREFIX}{name.upper()}", field.description
    for group, tree in nested.items():
        for name, field in tree.model_fields.items():
            yield f"{PREFIX}{group.upper()}{NESTING}{name.upper()}", field.description


def commands(command, path=("myriad",)):
    children = getattr(command, "commands", {})
    if not children:
        yield " ".join(path)
    for name, child in children.items():
        yield from commands(child, (*path, name))


@pytest.mark.parametrize(("name", "description"), list(settings()))
def test_every_setting_is_documented(name, description):
    assert f"| `{name}` |" in (DOCS / "settings.md").read_text()
    assert description in (DOCS / "settings.md").read_text()


@pytest.mark.parametrize("command", list(commands(get_command(app))))
def test_every_command_is_documented(command):
    assert f"`{command}" in (DOCS / "commands.md").read_text()


def test_the_architecture_fits_on_one_page():
    assert len((DOCS / "architecture.md").read_text().splitlines()) <= 50


def test_what_the_architecture_names_is_there():
    import re

    text = (DOCS / "architecture.md").read_text()
    for path in re.findall(r"`((?:registry|router|specialists|deploy)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


def test_links_lead_somewhere():
    import re

    for page in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
