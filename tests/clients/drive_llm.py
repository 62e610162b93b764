"""llm, the command line tool: a model from its configuration file, asked whole and as a stream."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HOME = Path(tempfile.mkdtemp())
(HOME / "extra-openai-models.yaml").write_text(
    f"""
- model_id: myriad
  model_name: auto
  api_base: {sys.argv[1]}/v1
  supports_schema: true
  supports_tools: true
"""
)
LLM = Path(sys.executable).with_name("llm")


def llm(*words: str) -> str:
    done = subprocess.run(
        [LLM, "--model", "myriad", *words],
        env={**os.environ, "LLM_USER_PATH": str(HOME), "OPENAI_API_KEY": "none"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


greedy = ("--option", "temperature", "0", "--option", "max_tokens", "20")
assert llm("hello there", *greedy) == llm("hello there", "--no-stream", *greedy) != ""
assert "{" in llm("Parcel seven", "--schema", "number int", "--option", "max_tokens", "60")
