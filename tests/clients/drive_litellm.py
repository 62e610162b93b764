"""litellm: answers, streams, tools, embeddings, and its errors."""

import os
import sys

# Else it asks the internet for prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm

WHERE = {"api_base": f"{sys.argv[1]}/v1", "api_key": "none"}
ASKED = [{"role": "user", "content": "hello there"}]
TOOL = {
    "type": "function",
    "function": {
        "name": "track",
        "parameters": {
            "type": "object",
            # A small base may go on with digits, or with more properties, as long as it is let.
            "properties": {"number": {"type": "integer", "minimum": 1, "maximum": 9999}},
            "required": ["number"],
            "additionalProperties": False,
        },
    },
}

asked = {"model": "openai/auto", "messages": ASKED, "max_tokens": 60, "temperature": 0, **WHERE}
whole = litellm.completion(**asked)
assert whole.choices[0].message.content
assert whole.usage.completion_tokens > 0
chunks = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert streamed == whole.choices[0].message.content

called = litellm.completion(**asked, tools=[TOOL], tool_choice="required")
assert called.choices[0].finish_reason == "tool_calls"
assert called.choices[0].message.tool_calls[0].function.name == "track"

refusal = None
try:
    litellm.completion(**asked | {"model": "openai/nobody/knows"})
except litellm.NotFoundError as error:
    refusal = str(error)
assert "nobody/knows" in (refusal or "")

vectors = litellm.embedding(model="openai/all-MiniLM-L6-v2", input=["hello"], **WHERE)
assert len(vectors.data[0]["embedding"]) == 384
