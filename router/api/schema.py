"""What /docs shows of bodies and queries that this API reads itself."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

REF = "#/components/schemas/{model}"


def json_body(form: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI extra of a route whose body is `form`."""
    return request_body("application/json", {"$ref": REF.format(model=form.__name__)})


def request_body(media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI extra of a route whose body is of a media type."""
    return {"requestBody": {"required": True, "content": {media_type: {"schema": schema}}}}


def query_lists(*names: str) -> dict[str, Any]:
    """The OpenAPI extra of a route that takes lists of words in its query."""
    words = {"type": "array", "items": {"type": "string"}}
    return {"parameters": [{"name": name, "in": "query", "schema": words} for name in names]}


def openapi_with(app: FastAPI, *forms: type[BaseModel]) -> Callable[[], dict[str, Any]]:
    """A replacement for `app.openapi` that also defines the forms that bodies refer to."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            _, definitions = models_json_schema(
                [(form, "validation") for form in forms], ref_template=REF
            )
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            components.update(definitions["$defs"])
            app.openapi_schema = schema
        return app.openapi_schema

    return openapi
