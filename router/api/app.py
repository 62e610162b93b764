"""The HTTP API as a value."""

from fastapi import FastAPI
from starlette.middleware import Middleware

from router.api import (
    aliases,
    audit,
    batches,
    canary,
    catalogue,
    chat,
    completions,
    data_files,
    embeddings,
    feedback,
    jobs,
    keys,
    lineage,
    live,
    maintenance,
    messages,
    models,
    operations,
    responses,
    route,
    specialists,
    stored,
    tokens,
    usage,
    versions,
)
from router.api.access import Access, AccessRules
from router.api.address import Address
from router.api.boundary import Boundary
from router.api.failures import HANDLED, answer_failure
from router.api.lenient import Lenient
from router.api.pages import add_pages
from router.api.schema import openapi_with
from router.api.serving import serve
from router.service import Service
from router.wire.alias import AliasRequest, CanaryRequest, RollbackRequest
from router.wire.batch import BatchRequest
from router.wire.chat import ChatRequest
from router.wire.completion import CompletionRequest
from router.wire.embedding import EmbeddingRequest
from router.wire.feedback import FeedbackRequest
from router.wire.job import JobRequest
from router.wire.key import KeyRequest
from router.wire.maintenance import GcRequest
from router.wire.messages import MessagesRequest
from router.wire.response import ResponseRequest
from router.wire.route import RouteRequest
from router.wire.specialist import ScoresRequest, VisibilityRequest
from router.wire.stored import DescribeRequest
from router.wire.tokens import DetokenizeRequest, TokenizeRequest

ROUTES = (
    chat.routes,
    stored.routes,
    stored.conversations,
    completions.routes,
    responses.routes,
    messages.routes,
    tokens.routes,
    route.routes,
    live.routes,
    embeddings.routes,
    models.routes,
    specialists.routes,
    catalogue.routes,
    versions.routes,
    aliases.routes,
    canary.routes,
    lineage.routes,
    data_files.routes,
    jobs.routes,
    batches.routes,
    keys.routes,
    feedback.routes,
    audit.routes,
    maintenance.routes,
    usage.routes,
    operations.routes,
)
FORMS = (
    ChatRequest,
    CompletionRequest,
    ResponseRequest,
    MessagesRequest,
    TokenizeRequest,
    DetokenizeRequest,
    RouteRequest,
    EmbeddingRequest,
    AliasRequest,
    RollbackRequest,
    CanaryRequest,
    VisibilityRequest,
    ScoresRequest,
    KeyRequest,
    JobRequest,
    BatchRequest,
    DescribeRequest,
    GcRequest,
    FeedbackRequest,
)
"""Of the bodies that are documented."""


def create_app(
    service: Service, *, access: AccessRules | None = None, names_requests: bool = True
) -> FastAPI:
    """The ASGI application over `service`, which the caller starts and stops.

    Args:
        service: What it serves.
        access: Who may reach it through a browser; None is this machine's own pages.
        names_requests: Whether responses get an `x-request-id`; False behind a proxy that gives
            every request one and puts it on the response too.
    """
    app = FastAPI(
        title="Myriad",
        summary="Very many specialised AIs behind OpenAI's API.",
        exception_handlers=dict.fromkeys(HANDLED, answer_failure),
        middleware=[
            Middleware(Boundary, metrics=service.metrics, names_requests=names_requests),
            Middleware(Access, rules=access or AccessRules()),
            Middleware(Address),
            Middleware(Lenient),
        ],
        docs_url=None,
        redoc_url=None,
    )
    for routes in ROUTES:
        app.include_router(routes)
    add_pages(app)
    serve(app, service)
    app.openapi = openapi_with(app, *FORMS)  # type: ignore[method-assign]
    return app
