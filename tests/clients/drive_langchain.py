"""langchain-openai: answers, streams, tools, structured output, embeddings."""

import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

URL = f"{sys.argv[1]}/v1"


class Parcel(BaseModel):
    """A parcel."""

    number: int = Field(ge=0, le=99)


@tool
def track(number: int) -> str:
    """Tell where a parcel is."""
    return f"Parcel {number} is in Hamburg."


def chat(model: str) -> ChatOpenAI:
    return ChatOpenAI(base_url=URL, api_key="none", model=model, temperature=0, max_tokens=80)


whole = chat("auto").invoke("fix the crash when the settings file is empty")
assert whole.content
assert whole.response_metadata["finish_reason"] in ("stop", "length")
assert whole.usage_metadata["output_tokens"] > 0
streamed = "".join(chunk.text for chunk in chat("auto").stream([HumanMessage("hello there")]))
assert streamed == chat("auto").invoke("hello there").content

asked = [HumanMessage("Where is parcel 7?")]
made = chat("SmolLM2-135M-Instruct").bind_tools([track], tool_choice="track").invoke(asked)
[call] = made.tool_calls
assert call["name"] == "track"
assert isinstance(call["args"]["number"], int)
result = ToolMessage(track.invoke(call["args"]), tool_call_id=call["id"])
assert chat("SmolLM2-135M-Instruct").invoke([*asked, made, result]).content

for method in ("json_schema", "function_calling"):
    shaped = chat("auto").with_structured_output(Parcel, method=method)
    assert isinstance(shaped.invoke("Parcel seven, please"), Parcel)

vectors = OpenAIEmbeddings(
    base_url=URL, api_key="none", model="all-MiniLM-L6-v2", check_embedding_ctx_length=False
)
assert len(vectors.embed_query("hello")) == 384
