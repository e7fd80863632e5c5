"""pydantic-ai: a stream, an agent with a tool that thinks, structured output, a refusal."""

import asyncio
import json
import sys

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

url, key, name, _ = sys.argv[1:]
provider = OpenAIProvider(base_url=url, api_key=key)
model = OpenAIChatModel(name, provider=provider)
called = []


class Town(BaseModel):
    name: str
    population: int


agent = Agent(model)


@agent.tool_plain
def get_weather(city: str) -> str:
    """Look up the weather of a city"""
    called.append(city)
    return "4 degrees and rain"


async def main() -> dict[str, object]:
    async with Agent(model).run_stream("Say hello in five words.") as stream:
        text = [delta async for delta in stream.stream_text(delta=True)]
    told = await agent.run(
        "Use get_weather for Oslo.", model_settings={"openai_reasoning_effort": "low"}
    )
    parts = [part for message in told.all_messages() for part in message.parts]
    unknown = OpenAIChatModel("us.amazon.nova-prow-v1:0", provider=provider)
    try:
        await Agent(unknown).run("Hi.")
    except ModelHTTPError as error:
        refused = [type(error).__name__, error.status_code, error.message]
    town = await Agent(model, output_type=Town).run("Tell of Oslo.")
    return {
        "text": "".join(text),
        "tool": called,
        "after_tool": told.output,
        "usage": told.usage.input_tokens + told.usage.output_tokens,
        "reasoning": "".join(part.content for part in parts if isinstance(part, ThinkingPart)),
        "refused": refused,
        "structured": town.output.model_dump(),
    }


json.dump(asyncio.run(main()), sys.stdout)
