"""LangChain: a stream, a tool loop, structured output, embeddings, the legacy completion, a
refusal; and a tool loop that thinks, whose reasoning it drops and the proxy puts back."""

import json
import sys

import openai
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
thinker = ChatOpenAI(
    base_url=url, api_key=key, model=model, reasoning_effort="low", include_response_headers=True,
    use_responses_api=False,
).bind_tools([get_weather])  # fmt: skip
turn = thinker.invoke([question])
again = ToolMessage("4 degrees", tool_call_id=turn.tool_calls[0]["id"])
notes = thinker.invoke([question, turn, again]).response_metadata["headers"]
try:
    ChatOpenAI(base_url=url, api_key=key, model="us.amazon.nova-prow-v1:0").invoke("Hi.")
except openai.NotFoundError as error:
    refused = [type(error).__name__, error.code, error.message]
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
        "notes": notes.get("x-bedrock-proxy-notes"),
        "refused": refused,
        "legacy": OpenAI(base_url=url, api_key=key, model=model).invoke("Say hello."),
    },
    sys.stdout,
)
