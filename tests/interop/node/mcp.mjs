// @modelcontextprotocol/sdk, the protocol's own client for Node.js, over streamable HTTP.
// Usage: node mcp.mjs http://HOST:PORT/mcp
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const client = new Client({ name: "interop", version: "1" });
await client.connect(new StreamableHTTPClientTransport(new URL(process.argv[2])));

const { tools } = await client.listTools();
const names = tools.map((tool) => tool.name).sort();
assert.deepEqual(names, ["edit_image", "generate_image", "get_status", "list_models"]);
console.log("ok tools");

function call(name, args, options = {}) {
  return client.callTool({ name, arguments: args }, undefined, options);
}

const steps = [];
const onprogress = ({ progress, total }) => steps.push([progress, total]);
const fields = { prompt: "a fox", steps: 3, seed: 5, width: 64, height: 64 };
const made = await call("generate_image", fields, { onprogress });
const [image, link, text] = made.content;
assert.deepEqual([image.type, link.type, text.type], ["image", "resource_link", "text"]);
assert.deepEqual(steps.at(-1), [3, 3]);
const file = Buffer.from(await (await fetch(link.uri)).arrayBuffer());
assert.equal(file.toString("base64"), image.data);
assert.equal(file.subarray(1, 4).toString(), "PNG");
console.log("ok picture");

const change = { prompt: "a red fox", image: link.uri, strength: 0.7, steps: 4 };
const edited = await call("edit_image", change);
assert.ok(!edited.isError, JSON.stringify(edited.content));
assert.notEqual(edited.content[0].data, image.data);
console.log("ok edit");

const abort = new AbortController();
const slow = { prompt: "a slow fox", steps: 150, width: 256, height: 256 };
const signal = { signal: abort.signal, onprogress: () => abort.abort() };
await assert.rejects(call("generate_image", slow, signal));
console.log("ok cancel");
await client.close();
