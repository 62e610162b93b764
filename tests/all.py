"""Run every test: unit tests in the pauses of the end-to-end tests, which often wait."""

import os
import signal
import subprocess
import sys
import tempfile

PYTEST = (sys.executable, "-m", "pytest")
UNIT = (*PYTEST, "tests/unit", "-n", "auto", "--dist", "loadfile")
END_TO_END = (*PYTEST, "tests/e2e")


def behind_everything():
    """Run only where no end-to-end test wants to."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main():
    """Say what the end-to-end tests say, then what the unit tests said."""
    with tempfile.TemporaryFile("w+") as said:
        unit = subprocess.Popen(
            UNIT, stdout=said, stderr=subprocess.STDOUT, preexec_fn=behind_everything
        )
        end_to_end = subprocess.Popen(END_TO_END)
        # Whoever interrupts this interrupts them too: they stop what they started.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        failed = [end_to_end.wait(), unit.wait()]
        said.seek(0)
        sys.stdout.write(said.read())
    sys.exit(any(failed))


if __name__ == "__main__":
    main()
