import io
import sys

import pytest
from rich.console import Console
from tiny_adapter import card, config, weights

from deploy.cli.output import Output
from deploy.settings import Settings
from deploy.stop_signal import StopSignal
from deploy.up import _announce, _tidy
from registry.archive import audit_log
from specialists.base import Base

SETTINGS = Settings(port=8123)


def announced(console, base, results=None):
    _announce(SETTINGS, base, console, 12.3, results)


def test_without_a_terminal_people_read_plain_text(capsys, tmp_path):
    announced(Output(as_json=False).progress, Base("tiny", tmp_path))
    line = capsys.readouterr().out
    assert line.startswith("Ready in 12 s at http://127.0.0.1:8123 (OpenAI base URL: ")
    assert "[" not in line
    assert "\x1b" not in line


def test_on_a_terminal_it_has_colour(tmp_path):
    out = io.StringIO()
    announced(Console(file=out, force_terminal=True, markup=False), Base("tiny", tmp_path))
    assert out.getvalue().startswith("\x1b[1;32mReady\x1b[0m")


def test_programs_read_one_line_of_json(capsys, tmp_path):
    announced(Output(as_json=True).progress, Base("tiny", tmp_path), sys.stdout)
    assert capsys.readouterr().out == (
        '{"event": "ready", "url": "http://127.0.0.1:8123", "base": "tiny", "seconds": 12.3}\n'
    )


class Once(StopSignal):
    """Told to stop while it waits."""

    def wait(self, timeout=None):
        self.set()
        return True


def test_garbage_is_collected_while_it_serves(registry, home, caplog):
    registry.register(card("ada/coach"), config(), weights())
    registry.retire("ada/coach")
    _tidy(SETTINGS.model_copy(update={"home": home, "retention_days": 0}), Once())
    assert [entry.action for entry in audit_log(home, 1)] == ["specialist.purged"]
    _tidy(SETTINGS.model_copy(update={"home": home / "nowhere"}), Once())
    assert "no registry" in caplog.text


@pytest.mark.parametrize(
    ("place", "path", "called"),
    [
        (".", "bin", "myriad"),
        (".", "elsewhere", "bin/myriad"),
        ("elsewhere", "elsewhere", "{root}/bin/myriad"),
    ],
)
def test_what_may_be_tried_can_be_typed_where_it_is_read(
    tmp_path, monkeypatch, place, path, called
):
    for folder in ("bin", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bin" / "myriad").touch(mode=0o700)
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / path))
    monkeypatch.chdir(tmp_path / place)
    out = io.StringIO()
    announced(Console(file=out), Base("tiny", tmp_path))
    assert f"or try: {called.format(root=tmp_path)} chat" in out.getvalue()
