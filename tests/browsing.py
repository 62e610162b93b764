"""A real browser: which one is here, and the page driven in it by `tests/clients/page.py`."""

import shutil
import subprocess
from pathlib import Path

import pytest
from patience import HANGS

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PYTHON = ROOT / ".venv-clients" / "bin" / "python"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
needs_driver = pytest.mark.skipif(not PYTHON.exists(), reason="`make test` installs the driver")


def browse(scenario: str, url: str, *more: str) -> None:
    """Play a scenario of `page.py`; it must come to its end."""
    driver = ROOT / "tests" / "clients" / "page.py"
    done = subprocess.run(
        [PYTHON, driver, scenario, url, CHROMIUM, *more],
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
