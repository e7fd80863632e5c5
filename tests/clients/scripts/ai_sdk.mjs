// Vercel's AI SDK: a stream, a tool loop of its own, an object, reasoning, embeddings, a refusal.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";

const [url, key, model, embedding] = process.argv.slice(2);
const bedrock = createOpenAICompatible({
  name: "bedrock",
  baseURL: url,
  apiKey: key,
  includeUsage: true,
  supportsStructuredOutputs: true,
});
globalThis.AI_SDK_LOG_WARNINGS = false;
const streamed = streamText({ model: bedrock(model), prompt: "Say hello in five words." });
let text = "";
for await (const part of streamed.textStream) text += part;

const called = [];
const looped = await generateText({
  model: bedrock(model),
  prompt: "Use get_weather for Oslo.",
  stopWhen: stepCountIs(3),
  tools: {
    get_weather: tool({
      description: "Look up the weather of a city",
      inputSchema: jsonSchema({
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"],
      }),
      execute: async ({ city }) => {
        called.push(city);
        return "4 degrees and rain";
      },
    }),
  },
});
const town = await generateObject({
  model: bedrock(model),
  prompt: "Tell of Oslo.",
  schema: jsonSchema({
    type: "object",
    properties: { name: { type: "string" }, population: { type: "integer" } },
    required: ["name", "population"],
    additionalProperties: false,
  }),
});
const thought = await generateText({
  model: bedrock(model),
  prompt: "Which is bigger?",
  providerOptions: { bedrock: { reasoningEffort: "low" } },
});
const vectors = await embedMany({
  model: (bedrock.embeddingModel ?? bedrock.textEmbeddingModel)(embedding),
  values: ["a", "b"],
});
let refused = null;
try {
  await generateText({ model: bedrock("us.amazon.nova-prow-v1:0"), prompt: "Hi.", maxRetries: 0 });
} catch (error) {
  refused = [error.name, error.statusCode, error.message];
}
console.log(
  JSON.stringify({
    text,
    tool: called,
    after_tool: looped.text,
    usage: (await streamed.usage).totalTokens,
    structured: town.object,
    reasoning: thought.reasoningText,
    vectors: vectors.embeddings.map((entry) => entry.length),
    refused,
  }),
);
