"""The HTTP API as a value."""

from fastapi import FastAPI
from starlette.middleware import Middleware

from router.api.access import Access, AccessRules
from router.api.aliases import alias_routes
from router.api.audit import audit_routes
from router.api.authorization import authorize
from router.api.boundary import Boundary
from router.api.canary import canary_routes
from router.api.catalogue import catalogue_routes
from router.api.chat import chat_routes
from router.api.completions import completion_routes
from router.api.data_files import data_file_routes
from router.api.embeddings import embedding_routes
from router.api.failures import HANDLED, answer_failure
from router.api.feedback import feedback_routes
from router.api.jobs import job_routes
from router.api.keys import key_routes
from router.api.lenient import Lenient
from router.api.lineage import lineage_routes
from router.api.live import live_routes
from router.api.maintenance import maintenance_routes
from router.api.models import model_routes
from router.api.operations import operation_routes
from router.api.pages import add_pages
from router.api.responses import response_routes
from router.api.route import route_routes
from router.api.schema import openapi_with
from router.api.specialists import specialist_routes
from router.api.stored import conversation_routes, stored_routes
from router.api.versions import version_routes
from router.service import Service
from router.wire.alias import AliasRequest, CanaryRequest, RollbackRequest
from router.wire.chat import ChatRequest
from router.wire.completion import CompletionRequest
from router.wire.embedding import EmbeddingRequest
from router.wire.feedback import FeedbackRequest
from router.wire.job import JobRequest
from router.wire.key import KeyRequest
from router.wire.maintenance import GcRequest
from router.wire.response import ResponseRequest
from router.wire.route import RouteRequest
from router.wire.specialist import ScoresRequest, VisibilityRequest
from router.wire.stored import DescribeRequest


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
            Middleware(Lenient),
        ],
        docs_url=None,
        redoc_url=None,
    )
    for routes in (
        chat_routes,
        stored_routes,
        conversation_routes,
        completion_routes,
        response_routes,
        route_routes,
        live_routes,
        embedding_routes,
        model_routes,
        specialist_routes,
        catalogue_routes,
        version_routes,
        alias_routes,
        canary_routes,
        lineage_routes,
        data_file_routes,
        job_routes,
        key_routes,
        feedback_routes,
        audit_routes,
        maintenance_routes,
        operation_routes,
    ):
        app.include_router(routes(service))
    add_pages(app)
    authorize(app, service.keyring, service.quotas)
    app.openapi = openapi_with(  # type: ignore[method-assign]
        app,
        ChatRequest,
        CompletionRequest,
        ResponseRequest,
        RouteRequest,
        EmbeddingRequest,
        AliasRequest,
        RollbackRequest,
        CanaryRequest,
        VisibilityRequest,
        ScoresRequest,
        KeyRequest,
        JobRequest,
        DescribeRequest,
        GcRequest,
        FeedbackRequest,
    )
    return app
