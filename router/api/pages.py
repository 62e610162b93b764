"""What a browser finds: `/` and `/docs`, with nothing fetched from elsewhere."""

from importlib import resources

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

ASSETS = "/docs/assets"
PAGE = "/page"
FRAMELESS = {"content-security-policy": "frame-ancestors 'none'"}
"""No other page may show these in a frame of its own, to have its buttons pressed."""
CONFINED = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
}
"""Nothing runs on the page but its own files, and it talks to nobody but this server."""
AS_IT_IS = {"cache-control": "no-cache"}
"""Asked for anew each time, and not sent again while it is as it was: releases do not mix."""


class _Files(StaticFiles):
    """The page's files."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One of them."""
        response = await super().get_response(path, scope)
        response.headers.update(AS_IT_IS)
        return response


def add_pages(app: FastAPI) -> None:
    """Serve both pages from `app`, which documents itself."""
    routes = APIRouter(include_in_schema=False)
    page = resources.files("router.web").joinpath("page/index.html").read_text("utf-8")

    @routes.get("/")
    async def page_itself() -> HTMLResponse:
        return HTMLResponse(page, headers=CONFINED | AS_IT_IS)

    @routes.get("/docs")
    async def docs() -> HTMLResponse:
        shown = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon-32x32.png",
        )
        return HTMLResponse(shown.body, headers=FRAMELESS)

    app.include_router(routes)
    app.mount(ASSETS, StaticFiles(packages=[("fastapi_swagger", "resources")]))
    app.mount(PAGE, _Files(packages=[("router.web", "page")]))
