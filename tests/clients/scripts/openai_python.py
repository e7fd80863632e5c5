"""openai-python: a stream, a tool loop, reasoning, embeddings, the legacy completion, a refusal."""

import json
import sys

import openai

url, key, model, embedding = sys.argv[1:]
client = openai.OpenAI(base_url=url, api_key=key, max_retries=0)
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
hello = [{"role": "user", "content": "Say hello in five words."}]
text, usage = "", 0
for chunk in client.chat.completions.create(
    model=model, messages=hello, stream=True, stream_options={"include_usage": True}
):
    text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    usage = chunk.usage.total_tokens if chunk.usage else usage
messages = [{"role": "user", "content": "Use get_weather for Oslo."}]
with client.chat.completions.stream(model=model, messages=messages, tools=tools) as stream:
    first = stream.get_final_completion().choices[0].message
[call] = first.tool_calls
messages += [first, {"role": "tool", "tool_call_id": call.id, "content": "4 degrees and rain"}]
second = client.chat.completions.create(model=model, messages=messages, tools=tools)
thought = client.chat.completions.create(model=model, messages=hello, reasoning_effort="low")
vectors = client.embeddings.create(model=embedding, input=["a", "b"])
legacy = client.completions.create(model=model, prompt="Say hello.", max_tokens=40)
try:
    client.chat.completions.create(model="us.amazon.nova-prow-v1:0", messages=hello)
except openai.NotFoundError as error:
    refused = [type(error).__name__, error.code, error.message]
json.dump(
    {
        "text": text,
        "usage": usage,
        "tool": call.function.name,
        "after_tool": second.choices[0].message.content,
        "reasoning": thought.choices[0].message.reasoning_content,
        "vectors": [len(entry.embedding) for entry in vectors.data],
        "legacy": legacy.choices[0].text,
        "refused": refused,
    },
    sys.stdout,
)
