// openai-node: a stream with its fold, a tool loop, reasoning, models, embeddings, the legacy
// completion, a refusal.
import OpenAI from "openai";

const [url, key, model, embedding] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url, apiKey: key, maxRetries: 0 });
const tools = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Look up the weather of a city",
      parameters: {
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"],
      },
    },
  },
];
const hello = [{ role: "user", content: "Say hello in five words." }];
const stream = client.chat.completions.stream({
  model,
  messages: hello,
  stream_options: { include_usage: true },
});
let text = "";
for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
const final = await stream.finalChatCompletion();

const messages = [{ role: "user", content: "Use get_weather for Oslo." }];
const first = await client.chat.completions.stream({ model, messages, tools }).finalMessage();
messages.push(first, {
  role: "tool",
  tool_call_id: first.tool_calls[0].id,
  content: "4 degrees and rain",
});
const second = await client.chat.completions.create({ model, messages, tools });
const ids = (await client.models.list()).data.map((entry) => entry.id);
const vectors = await client.embeddings.create({ model: embedding, input: ["a", "b"] });
const legacy = await client.completions.create({ model, prompt: "Say hello.", max_tokens: 40 });
let reasoning = "";
const thinking = await client.chat.completions.create({
  model,
  messages: hello,
  reasoning_effort: "low",
  stream: true,
});
for await (const chunk of thinking) reasoning += chunk.choices[0]?.delta?.reasoning_content ?? "";
let refused = null;
try {
  await client.chat.completions.create({ model: "us.amazon.nova-prow-v1:0", messages: hello });
} catch (error) {
  refused = [error.constructor.name, error.code, error.message];
}
console.log(
  JSON.stringify({
    text,
    folded: final.choices[0].message.content,
    tool: first.tool_calls[0].function.name,
    after_tool: second.choices[0].message.content,
    usage: final.usage.total_tokens,
    listed: ids.includes(model),
    vectors: vectors.data.map((entry) => entry.embedding.length),
    legacy: legacy.choices[0].text,
    reasoning,
    refused,
  }),
);
