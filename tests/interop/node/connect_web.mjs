// @connectrpc/connect-web, the browser's Connect client, in both of its encodings.
// Usage: node connect_web.mjs http://HOST:PORT
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

const image = readFileSync(new URL("../../../buf/v0.1.0.binpb", import.meta.url));
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
const service = registry.getService("text2image.Text2ImageService");
const LONG = { prompt: "a slow fox", numInferenceSteps: 150, height: 256, width: 256 };

function failure(promise) {
  return promise.then(() => assert.fail("it was not refused"), (error) => ConnectError.from(error));
}

for (const useBinaryFormat of [false, true]) {
  const client = createClient(
    service,
    createConnectTransport({ baseUrl: process.argv[2], useBinaryFormat }),
  );

  const { images } = await client.generateImage({ prompt: "a fox", numInferenceSteps: 3, seed: 5n });
  assert.equal(images[0].seed, 5n);
  assert.deepEqual([...images[0].data.slice(1, 4)], [..."PNG"].map((c) => c.charCodeAt(0)));

  const kinds = [];
  for await (const event of client.streamGenerateImage({ prompt: "a fox", numInferenceSteps: 6 })) {
    kinds.push(event.event.case);
  }
  assert.ok(kinds.includes("progress"));
  assert.deepEqual(kinds.slice(-2), ["image", "done"]);

  const refused = await failure(client.generateImage({ prompt: " " }));
  assert.equal(refused.code, Code.InvalidArgument);
  assert.equal(refused.details[0].type, "google.rpc.BadRequest");
  assert.equal(refused.details[0].debug.fieldViolations[0].field, "prompt");

  // A size that was never measured: of others the server knows at once that it can't be in time.
  const side = useBinaryFormat ? 336 : 344;
  const request = { ...LONG, height: side, width: side };
  const late = await failure(client.generateImage(request, { timeoutMs: 400 }));
  assert.equal(late.code, Code.DeadlineExceeded);

  const abort = new AbortController();
  const cancelled = await failure((async () => {
    for await (const event of client.streamGenerateImage(LONG, { signal: abort.signal })) {
      if (event.event.case === "progress") abort.abort();
    }
  })());
  assert.equal(cancelled.code, Code.Canceled);
  console.log("ok", useBinaryFormat ? "proto" : "json");
}
