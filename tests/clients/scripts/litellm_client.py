"""LiteLLM's SDK: a stream, a tool loop, reasoning, embeddings, the legacy completion, a refusal."""

import json
import sys

import litellm

url, key, model, embedding = sys.argv[1:]
litellm.telemetry = False
ours = {"model": f"openai/{model}", "api_base": url, "api_key": key}
tools = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Look up the weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
messages = [{"role": "user", "content": "Use get_weather for Oslo."}]
first = litellm.completion(**ours, messages=messages, tools=tools).choices[0].message
call = first.tool_calls[0]
messages += [
    first.model_dump(),
    {"role": "tool", "tool_call_id": call.id, "content": "4 degrees and rain"},
]
second = litellm.completion(**ours, messages=messages, tools=tools)
said = [{"role": "user", "content": "Say hello in five words."}]
stream = litellm.completion(**ours, messages=said, stream=True)
thought = litellm.completion(
    **ours, messages=said, reasoning_effort="low", allowed_openai_params=["reasoning_effort"]
)
vectors = litellm.embedding(
    model=f"openai/{embedding}", api_base=url, api_key=key, input=["a", "b"],
    encoding_format="float",
)  # fmt: skip
legacy = litellm.text_completion(
    model=f"text-completion-openai/{model}", api_base=url, api_key=key, prompt="Say hello.",
    max_tokens=40,
)  # fmt: skip
try:
    litellm.completion(**ours | {"model": "openai/us.amazon.nova-prow-v1:0"}, messages=said)
except litellm.NotFoundError as error:
    refused = [type(error).__name__, error.status_code, error.message]
json.dump(
    {
        "text": "".join(chunk.choices[0].delta.content or "" for chunk in stream),
        "tool": call.function.name,
        "after_tool": second.choices[0].message.content,
        "usage": second.usage.total_tokens,
        "reasoning": thought.choices[0].message.reasoning_content,
        "vectors": [len(entry["embedding"]) for entry in vectors.data],
        "refused": refused,
        "legacy": legacy.choices[0].text,
    },
    sys.stdout,
)
