"""An image, and one machine that runs it."""

import json
from math import ceil

from deploy.rendering.base import HUB, folder_of
from deploy.rendering.files import ANYWHERE, HOME, PORT, USER, Manifest, Target, in_yaml
from specialists.hub import is_of_hub

PYTHON_IMAGE = "python:3.11.14-slim-bookworm"
IGNORED = (".git", ".venv*", "**/__pycache__", "tests", "benchmarks", "*.egg-info", ".*_cache")


PASSED_ON = {"HF_TOKEN": "${HF_TOKEN:-}"}
"""What the container gets of the environment that it is started from."""
VLLM_STEP = """
# vLLM has an environment of its own; name another package for other hardware.
ARG VLLM=vllm
RUN python -m venv .venv-vllm && .venv-vllm/bin/pip install --no-cache-dir "$VLLM"
ENV MYRIAD_ENGINE__VLLM__PYTHON=/app/.venv-vllm/bin/python
"""


def docker_files(target: Target) -> dict[str, str]:
    """What `docker compose up` needs, beside a checkout of the source."""
    return {
        "Dockerfile": dockerfile(target),
        # What is ignored is looked for beside the Dockerfile by this name; else only in the source.
        "Dockerfile.dockerignore": "\n".join(IGNORED) + "\n",
        "compose.yaml": in_yaml(compose(target)),
        "README.md": readme(target),
    }


def dockerfile(target: Target) -> str:
    """Everything by version and hash; nobody is root; kernels are compiled for each machine."""
    vllm = VLLM_STEP if target.settings.engine.kind == "vllm" else ""
    return f"""# Rendered by `myriad deploy render docker`. Build it in a checkout of the source:
#   docker build -f Dockerfile -t myriad /path/to/source
FROM {PYTHON_IMAGE}

# g++ stays: the engine's kernels are compiled for the processor that they run on.
# wget is what KubeRay's probes call.
RUN apt-get update \\
 && apt-get install -y --no-install-recommends g++ make wget \\
 && rm -rf /var/lib/apt/lists/* \\
 && useradd --uid {USER} --create-home myriad \\
 && install -d -o myriad -g myriad -m 0700 {HOME} /app

USER {USER}
WORKDIR /app
ENV MYRIAD_HOME={HOME} \\
    HF_HOME={HUB} \\
    PATH=/app/.venv/bin:$PATH \\
    PYTHONUNBUFFERED=1

COPY --chown=myriad:myriad pyproject.toml Makefile README.md LICENSE ./
COPY --chown=myriad:myriad deploy/locks deploy/locks
COPY --chown=myriad:myriad registry registry
COPY --chown=myriad:myriad router router
COPY --chown=myriad:myriad specialists specialists
COPY --chown=myriad:myriad deploy deploy
COPY --chown=myriad:myriad examples examples
RUN make setup
{vllm}
EXPOSE {PORT}
VOLUME {HOME}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=5m --retries=4 \\
  CMD ["wget", "--quiet", "--output-document=/dev/null", "http://127.0.0.1:{PORT}/readyz"]
ENTRYPOINT ["myriad"]
CMD ["up"]
"""


def compose(target: Target) -> Manifest:
    """One container, its home in a volume, reachable from this machine alone."""
    own = _environment(target.own)
    volumes = [f"{target.name}-home:{HOME}"]
    base = target.settings.base
    if folder := folder_of(base):
        volumes.append(f"{folder}:{folder}:ro")
    if is_of_hub(base):
        own |= PASSED_ON
    service: Manifest = {
        "image": target.image,
        "environment": {"MYRIAD_HOST": ANYWHERE, "MYRIAD_PORT": str(PORT)} | own,
        "ports": [f"127.0.0.1:{PORT}:{PORT}"],
        "volumes": volumes,
        "shm_size": "256m",
        "restart": "unless-stopped",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "stop_grace_period": f"{int(target.settings.drain_seconds) + 30}s",
    }
    if gpus := target.settings.gpus:
        wanted = {"driver": "nvidia", "count": ceil(gpus), "capabilities": ["gpu"]}
        service["deploy"] = {"resources": {"reservations": {"devices": [wanted]}}}
    return {"services": {target.name: service}, "volumes": {f"{target.name}-home": {}}}


def readme(target: Target) -> str:
    """What is to be done, and in which order."""
    return f"""# {target.name} in a container

```sh
docker build -f Dockerfile -t {target.image} /path/to/source
docker compose run --rm {target.name} keys create you --scope admin   # shows the key once
docker compose up --detach
curl -H "Authorization: Bearer KEY" http://127.0.0.1:{PORT}/v1/models
```
"""


def _environment(settings: Manifest, prefix: str = "MYRIAD") -> dict[str, str]:
    """Settings as environment variables."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        variable = f"{prefix}{'_' if prefix == 'MYRIAD' else '__'}{name.upper()}"
        if name == "arguments":
            found[variable] = json.dumps(value)
        elif isinstance(value, dict):
            found |= _environment(value, variable)
        else:
            found[variable] = ",".join(value) if isinstance(value, list) else str(value)
    return found
