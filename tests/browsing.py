"""A real browser: which one is here, and the page driven in it by `tests/clients/page.py`."""

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PYTHON = ROOT / ".venv-clients" / "bin" / "python"

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
needs_driver = pytest.mark.skipif(not PYTHON.exists(), reason="`make test` installs the driver")


def browse(scenario: str, url: str, *more: str) -> None:
    """Play a scenario of `page.py`; it must come to its end."""
    driver = _driver()
    print(json.dumps([scenario, url, *more]), file=driver.stdin, flush=True)
    failed = json.loads(driver.stdout.readline())
    assert failed is None, failed


@cache
def _driver() -> "subprocess.Popen[str]":
    """One browser for all scenarios, which ends when its input does: with this process."""
    driver = ROOT / "tests" / "clients" / "page.py"
    return subprocess.Popen(
        [PYTHON, driver, CHROMIUM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
