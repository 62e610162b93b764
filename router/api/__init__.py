"""The HTTP API: one module per noun, put together by `router.api.app.create_app`."""
