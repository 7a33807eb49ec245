// openai, OpenAI's SDK for Node.js. Usage: node openai_images.mjs http://HOST:PORT
import assert from "node:assert/strict";
import OpenAI from "openai";

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "unused", maxRetries: 0 });
const png = (b64) => Buffer.from(b64, "base64").subarray(1, 4).toString();

const names = [];
for await (const model of client.models.list()) names.push(model.id);
assert.ok(names.length > 1 && names.includes("dall-e-3")); // beside the one that is served
await assert.rejects(client.models.retrieve("gpt-5"), (error) => error.code === "model_not_found");
console.log("ok models");

const request = { model: "dall-e-3", prompt: "a fox", n: 2, size: "64x64", quality: "hd" };
const { data, response } = await client.images.generate(request).withResponse();
assert.equal(response.headers.get("x-ignored-parameters"), "quality");
assert.deepEqual(data.data.map((item) => png(item.b64_json)), ["PNG", "PNG"]);
console.log("ok generate");

const addressed = await client.images.generate({ ...request, response_format: "url" });
for (const { url } of addressed.data) {
  const picture = Buffer.from(await (await fetch(url)).arrayBuffer());
  assert.equal(picture.subarray(1, 4).toString(), "PNG");
}
console.log("ok url");

const stream = { prompt: "a fox", stream: true, partial_images: 1, num_inference_steps: 4 };
const kinds = [];
for await (const event of await client.images.generate(stream)) kinds.push(event.type);
assert.deepEqual(kinds, ["image_generation.partial_image", "image_generation.completed"]);
console.log("ok stream");

await assert.rejects(client.images.generate({ prompt: "a fox", n: "many" }), (error) => {
  assert.ok(error instanceof OpenAI.BadRequestError);
  assert.deepEqual([error.param, error.code], ["n", "invalid_type"]);
  return true;
});
console.log("ok refusal");
