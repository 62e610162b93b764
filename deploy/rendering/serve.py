"""The application as a config for `serve deploy`, or for a RayService."""

from deploy.errors import InvalidSetting
from deploy.rendering.files import Manifest, Target, in_yaml

IMPORT_PATH = "deploy.serve_app:application"


def serve_config(target: Target) -> Manifest:
    """Serve's config; everything but secrets is in its `args`, which are the settings.

    Raises:
        InvalidSetting: Serve would not take it.
    """
    application = {
        "name": "myriad",
        "route_prefix": "/",
        "import_path": IMPORT_PATH,
        "args": target.own,
    }
    config = {
        "proxy_location": "EveryNode",
        "http_options": {"host": target.settings.host, "port": target.settings.port},
        "applications": [application],
    }
    require_known(config)
    return config


def require_known(config: Manifest) -> None:
    """Refuse what Serve would silently pass over.

    Raises:
        InvalidSetting: a key is not one of Serve's, or a value not one that it takes.
    """
    from pydantic import ValidationError
    from ray.serve.schema import ServeDeploySchema

    try:
        read = ServeDeploySchema.model_validate(config).model_dump(mode="json")
    except ValidationError as error:
        raise InvalidSetting(f"Serve does not take this config: {error}") from error
    if unknown := list(_unknown(config, read)):
        raise InvalidSetting(f"Serve does not know {', '.join(unknown)}")


def serve_files(target: Target) -> dict[str, str]:
    """The file for `serve deploy`."""
    return {"serve.yaml": in_yaml(serve_config(target))}


def _unknown(given: object, read: object, path: str = "") -> list[str]:
    """Keys that were given and not read, by their paths."""
    if isinstance(given, dict) and isinstance(read, dict) and not path.endswith(".args"):
        missing = [f"{path}.{key}".lstrip(".") for key in given if key not in read]
        below = (_unknown(given[key], read[key], f"{path}.{key}") for key in given if key in read)
        return [*missing, *(name for names in below for name in names)]
    if isinstance(given, list) and isinstance(read, list):
        pairs = enumerate(zip(given, read, strict=True))
        return [name for at, (one, other) in pairs for name in _unknown(one, other, f"{path}.{at}")]
    return []
