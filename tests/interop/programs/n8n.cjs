// n8n's OpenAI node 2.2, its generate and edit operations over its own HTTP client.
// Usage: node n8n.cjs FOLDER_OF_PACKAGES http://HOST:PORT
const assert = require("node:assert/strict");
const { join } = require("node:path");

const [folder, base] = process.argv.slice(2);
const image = join(folder, "n8n-nodes/dist/nodes/vendors/OpenAi/v2/actions/image");
const helpers = "n8n-core/dist/execution-engine/node-execution-context/utils/request-helpers/factory.js";
const generate = require(join(image, "generate.operation.js"));
const edit = require(join(image, "edit.operation.js"));
const { getRequestHelperFunctions } = require(join(folder, "node_modules", helpers));

// As the credential "OpenAI" authenticates.
const credentialsHelper = {
  getParentTypes: () => [],
  preAuthentication: async () => undefined,
  authenticate: async ({ apiKey }, type, options) => ({
    ...options,
    headers: { ...options.headers, Authorization: `Bearer ${apiKey}` },
  }),
};

let start = Buffer.alloc(0);

function run(operation, parameters) {
  const node = { name: "OpenAI", type: "openAi", typeVersion: 2.2 };
  const context = {
    getNode: () => node,
    getNodeParameter: (name, index, fallback) => parameters[name] ?? fallback,
    getCredentials: async () => ({ apiKey: "unused", url: `${base}/v1` }),
    helpers: {
      ...getRequestHelperFunctions({}, node, { credentialsHelper }),
      prepareBinaryData: async (buffer) => ({ data: buffer.toString("base64") }),
      assertBinaryData: () => ({ fileName: "fox.png", mimeType: "image/png" }),
      getBinaryDataBuffer: async () => start,
      binaryToBuffer: async (buffer) => buffer,
    },
  };
  return operation.execute.call(context, 0);
}

function picture(item) {
  const file = Buffer.from(item.binary.data.data, "base64");
  assert.equal(file.subarray(1, 4).toString(), "PNG");
  return file;
}

async function main() {
  const asked = { prompt: "a fox", options: { n: 2, size: "64x64", quality: "medium" } };
  const made = await run(generate, { ...asked, modelId: "gpt-image-1-mini" });
  [start] = made.map(picture);
  assert.equal(made.length, 2);
  console.log("ok generate");

  const options = { returnImageUrls: true, size: "64x64", style: "vivid" };
  const [{ json }] = await run(generate, { prompt: "a fox", modelId: "dall-e-3", options });
  const fetched = Buffer.from(await (await fetch(json.url)).arrayBuffer());
  assert.equal(fetched.subarray(1, 4).toString(), "PNG");
  console.log("ok url");

  const change = { prompt: "a red fox", size: "64x64" };
  const [edited] = await run(edit, { ...change, model: "gpt-image-1" });
  picture(edited);
  console.log("ok edit");

  const many = { prompt: "a fox", modelId: "dall-e-3", options: { n: "many" } };
  await assert.rejects(run(generate, many), /Bad request/);
  console.log("ok refusal");
}

main();
