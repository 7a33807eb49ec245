// @connectrpc/connect-node, its default options and gzip. Usage: node connect_node.mjs http://HOST:PORT
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { compressionGzip, createConnectTransport } from "@connectrpc/connect-node";

const image = readFileSync(new URL("../../../buf/v0.1.0.binpb", import.meta.url));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
const service = registry.getService("text2image.Text2ImageService");
const base = { baseUrl: process.argv[2], httpVersion: "1.1" };
const gzip = { sendCompression: compressionGzip, compressMinBytes: 1 };

async function caught(work) {
  try {
    await work();
  } catch (error) {
    return ConnectError.from(error);
  }
  return assert.fail("it was not refused");
}

async function last(stream) {
  const kinds = [];
  for await (const { event } of stream) kinds.push(event.case);
  return kinds.at(-1);
}

for (const [name, options] of Object.entries({ default: {}, gzip })) {
  for (const useBinaryFormat of [true, false]) {
    const transport = createConnectTransport({ ...base, ...options, useBinaryFormat });
    const client = createClient(service, transport);
    const { images } = await client.generateImage({ prompt: "a fox", seed: 5n });
    assert.equal(images[0].seed, 5n);
    assert.equal(await last(client.streamGenerateImage({ prompt: "a fox" })), "done");
    const huge = { prompt: "a".repeat(7_000_000) };
    const refused = await caught(() => last(client.streamGenerateImage(huge)));
    assert.equal(refused.code, Code.ResourceExhausted);
    const unary = await caught(() => client.generateImage(huge));
    assert.equal(unary.code, Code.ResourceExhausted);
  }
  console.log("ok", name);
}
