"""Rendered files, and what they all depend on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from deploy.errors import InvalidSetting
from deploy.settings import SECRETS, Settings, TrainingSettings

Manifest = dict[str, Any]
LOCAL = {"home", "host", "port", "url", "demos"}
"""Settings that a cluster has its own of."""
HOME = "/var/lib/myriad"
PORT = 8000
USER = 10001
"""Whom the image runs as."""
ANYWHERE = "0.0.0.0"  # noqa: S104 (of a pod or a container, behind what protects it)
TRAINER = "trainer"
"""The Ray resource of pods that train."""
DRAIN_SECONDS = 120.0
"""What a cluster gives answers in flight, unless the settings say otherwise."""


@dataclass(frozen=True)
class Target:
    """What is rendered for.

    Attributes:
        settings: as they were read.
        name: of everything that is made.
        image: the container image.
        secret: the Kubernetes secret that holds what nobody else may read.
        redis: where the cluster's state is kept, `host:port`; None runs one for it.
        base_claim: the volume claim that holds the base, or what comes from a hub.
        base_gib: what the base's weights take; None looks at them.
    """

    settings: Settings
    name: str = "myriad"
    image: str = "myriad:latest"
    secret: str = "myriad"  # noqa: S105 (a name)
    redis: str | None = None
    base_claim: str | None = None
    base_gib: float | None = None

    def in_pods(self, threads: int) -> "Target":
        """As it is in pods, which have so many CPUs for an engine and time to end answers."""
        engine = self.settings.engine
        engine = engine.model_copy(
            update={"threads": engine.threads or threads, **engine.whole_caches}
        )
        drain = self.settings.drain_seconds
        if "drain_seconds" not in self.settings.model_fields_set:
            drain = DRAIN_SECONDS
        told = {"engine": engine, "drain_seconds": drain, "host": ANYWHERE, "port": PORT}
        told["training"] = self._training
        return replace(self, settings=self.settings.model_copy(update=told))

    @property
    def _training(self) -> TrainingSettings:
        """Trainers have pods of their own, unless it is a GPU that they share."""
        training = self.settings.training
        if training.gpus or not training.jobs:
            return training
        return training.model_copy(update={"resource": training.resource or TRAINER})

    @property
    def own(self) -> Manifest:
        """The settings that differ from their defaults, without secrets."""
        found: Manifest = self.settings.model_dump(
            mode="json", exclude_defaults=True, exclude={*SECRETS, *LOCAL}
        )
        return found


def ray_version() -> str:
    """The Ray that the image holds, and that a cluster must be told of."""
    return version("ray")


def require_shared(settings: Settings) -> None:
    """Refuse to spread over machines what only one of them would have.

    Raises:
        InvalidSetting: the registry, or its files, would be in a folder of one machine.
    """
    for field, meant in ("database", "postgresql://…"), ("files", "s3://…"):
        if getattr(settings, field) is None:
            raise InvalidSetting(
                f"MYRIAD_{field.upper()} is needed where several machines share a registry: "
                f"set it to {meant}"
            )


class _Dumper(yaml.SafeDumper):
    """Writes what people read: no aliases, and texts of many lines as they are."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 (PyYAML's hook)
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def labelled(target: Target, api: str, kind: str, name: str, **rest: object) -> Manifest:
    """An object of Kubernetes' that is known as a part of what is rendered."""
    labels = {"app.kubernetes.io/part-of": target.name}
    head = {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": labels}}
    return head | rest


def in_yaml(*documents: Manifest) -> str:
    """Documents of one file."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def write(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write the files, by their paths in a folder; others in it stay."""
    paths = [folder / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return paths
