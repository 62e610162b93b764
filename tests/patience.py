"""How long a test waits for what must come: only a hang ends it, never a slow machine."""

HANGS = 900.0
