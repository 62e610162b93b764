"""`POST /tokenize` and `POST /detokenize`, as vLLM has them: texts as the base reads them."""

from fastapi import APIRouter, Request
from pydantic_core import to_json
from starlette.responses import Response

from router.api.authorization import Asker
from router.api.counting import prompt_read
from router.api.json_body import read_json
from router.api.schema import json_body
from router.api.serving import Served
from router.wire.body import parse
from router.wire.tokens import DetokenizeRequest, TokenizeRequest

routes = APIRouter(tags=["generation"])


@routes.post("/tokenize", openapi_extra=json_body(TokenizeRequest))
async def tokenize(service: Served, request: Request, caller: Asker) -> Response:
    """Tell the tokens of a text or a conversation, which are the same whoever answers it."""
    body = parse(await read_json(request), TokenizeRequest)
    _, read = await prompt_read(request, service, caller, body)
    told = {
        "count": len(read.ids),
        "max_model_len": read.context,
        "tokens": read.ids,
        "token_strs": read.pieces if body.return_token_strs else None,
    }
    return Response(to_json(told), media_type="application/json")


@routes.post("/detokenize", openapi_extra=json_body(DetokenizeRequest))
async def detokenize(service: Served, request: Request, caller: Asker) -> dict[str, str]:
    """Tell the text of tokens."""
    body = parse(await read_json(request), DetokenizeRequest)
    text, _ = await prompt_read(request, service, caller, body)
    return {"prompt": text}
