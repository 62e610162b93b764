"""What a browser finds: `/` and `/docs`, with nothing fetched from elsewhere."""

from importlib import resources

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

ASSETS = "/docs/assets"
FRAMELESS = {"content-security-policy": "frame-ancestors 'none'"}
"""No other page may show these in a frame of its own, to have its buttons pressed."""


def add_pages(app: FastAPI) -> None:
    """Serve both pages from `app`, which documents itself."""
    routes = APIRouter(include_in_schema=False)
    page = resources.files("router.web").joinpath("welcome.html").read_text("utf-8")

    @routes.get("/")
    async def welcome() -> HTMLResponse:
        return HTMLResponse(page, headers=FRAMELESS)

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
