"""LangChain: a stream, a tool loop, structured output, embeddings, the legacy completion."""

import json
import sys

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel

url, key, model, embedding = sys.argv[1:]
chat = ChatOpenAI(base_url=url, api_key=key, model=model)


@tool
def get_weather(city: str) -> str:
    """Look up the weather of a city"""
    return "4 degrees and rain"


class Town(BaseModel):
    name: str
    population: int


question = HumanMessage("Use get_weather for Oslo.")
first = chat.bind_tools([get_weather]).invoke([question])
[call] = first.tool_calls
result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
second = chat.bind_tools([get_weather]).invoke([question, first, result])
vectors = OpenAIEmbeddings(
    base_url=url, api_key=key, model=embedding, check_embedding_ctx_length=False
).embed_documents(["a", "b"])
json.dump(
    {
        "text": "".join(chunk.content for chunk in chat.stream("Say hello in five words.")),
        "tool": call["name"],
        "after_tool": second.content,
        "usage": second.usage_metadata["total_tokens"],
        "structured": chat.with_structured_output(Town).invoke("Tell of Oslo.").model_dump(),
        "vectors": [len(vector) for vector in vectors],
        "legacy": OpenAI(base_url=url, api_key=key, model=model).invoke("Say hello."),
    },
    sys.stdout,
)
