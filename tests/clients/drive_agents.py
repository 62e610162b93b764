"""openai-agents: an agent that calls a tool and then answers, over either API."""

import asyncio
import sys

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

set_tracing_disabled(True)
CALLED: list[int] = []


@function_tool
def track(number: int) -> str:
    """Tell where a parcel is."""
    CALLED.append(number)
    return f"Parcel {number} is in Hamburg."


async def ask(model) -> None:
    CALLED.clear()
    agent = Agent(
        name="Parcels",
        instructions="Answer with the help of your tool.",
        tools=[track],
        model=model,
        model_settings=ModelSettings(temperature=0, max_tokens=60, tool_choice="required"),
    )
    result = await Runner.run(agent, "Where is parcel 7?")
    assert len(CALLED) == 1
    assert isinstance(result.final_output, str)
    CALLED.clear()
    streamed = Runner.run_streamed(agent, "Where is parcel 7?")
    kinds = {event.type async for event in streamed.stream_events()}
    assert {"raw_response_event", "run_item_stream_event"} <= kinds
    assert len(CALLED) == 1
    assert isinstance(streamed.final_output, str)


async def main() -> None:
    client = AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="none", max_retries=0)
    for kind in (OpenAIChatCompletionsModel, OpenAIResponsesModel):
        await ask(kind(model="SmolLM2-135M-Instruct", openai_client=client))


asyncio.run(main())
