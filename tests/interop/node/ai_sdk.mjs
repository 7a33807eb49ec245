// Vercel's AI SDK, as its openai-compatible provider asks. Usage: node ai_sdk.mjs http://HOST:PORT
// The server withholds the second picture.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";

const provider = createOpenAICompatible({ name: "text2image", baseURL: `${process.argv[2]}/v1` });
const model = provider.imageModel("dall-e-3");
const asked = { prompt: "a fox", n: 2, size: "64x64", providerOptions: { text2image: { steps: 3 } } };
const { images } = await model.doGenerate(asked);
assert.deepEqual(images.map((b64) => Buffer.from(b64, "base64").subarray(1, 4).toString()), ["PNG"]);
console.log("ok doGenerate");

const gone = new AbortController();
setTimeout(() => gone.abort(), 300);
const slow = model.doGenerate({ ...asked, prompt: "a slow fox", abortSignal: gone.signal });
await assert.rejects(slow, { name: "AbortError" });
console.log("ok abort");
