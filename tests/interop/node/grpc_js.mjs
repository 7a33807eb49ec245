// @grpc/grpc-js with @grpc/proto-loader: the client that most Node programs use.
// Usage: node grpc_js.mjs HOST:PORT
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import protobuf from "protobufjs";

const PROTO = fileURLToPath(new URL("../../../proto/text2image.proto", import.meta.url));
const LONG = { prompt: "a slow fox", num_inference_steps: 150, height: 256, width: 256 };

// keepCase: without it, fields in snake_case are dropped without a word.
const definition = loadSync(PROTO, { keepCase: true, longs: String, enums: String, oneofs: true });
const { text2image } = grpc.loadPackageDefinition(definition);
const client = new text2image.Text2ImageService(process.argv[2], grpc.credentials.createInsecure());

function unary(method, request, options = {}) {
  return new Promise((resolve, reject) =>
    client[method](request, options, (error, answer) => (error ? reject(error) : resolve(answer))),
  );
}

function failure(promise) {
  return promise.then(() => assert.fail("it was not refused"), (error) => error);
}

async function unaryCall() {
  const request = { prompt: "a fox", num_inference_steps: 4, seed: "7", num_images: 2 };
  const { images, info } = await unary("GenerateImage", request);
  assert.equal(images.length, 2);
  assert.equal(images[0].data.subarray(1, 4).toString(), "PNG");
  assert.deepEqual(images.map((image) => image.seed), ["7", "8"]);
  assert.equal(info.request.num_inference_steps, 4);
}

async function stream() {
  const call = client.StreamGenerateImage({ prompt: "a fox", num_inference_steps: 6 });
  const kinds = [];
  for await (const event of call) kinds.push(event.event);
  assert.equal(kinds.at(-1), "done");
  assert.equal(kinds.at(-2), "image");
  assert.ok(kinds.includes("progress"));
}

async function cancel() {
  const call = client.StreamGenerateImage(LONG);
  let steps = 0;
  const error = await failure((async () => {
    for await (const event of call) {
      if (event.event === "progress" && ++steps === 2) call.cancel();
    }
  })());
  assert.equal(error.code, grpc.status.CANCELLED);
}

async function deadline() {
  // A size that was never measured: of others the server knows at once that it can't be in time.
  const request = { ...LONG, height: 328, width: 328 };
  const error = await failure(unary("GenerateImage", request, { deadline: Date.now() + 400 }));
  assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
}

const RPC = protobuf.parse(`
  syntax = "proto3";
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message Any { string type_url = 1; bytes value = 2; }
  message BadRequest { repeated FieldViolation field_violations = 1; }
  message FieldViolation { string field = 1; string description = 2; string reason = 3; }
`, { keepCase: true }).root;

async function errorDetails() {
  const error = await failure(unary("GenerateImage", { prompt: " ", num_inference_steps: 0 }));
  assert.equal(error.code, grpc.status.INVALID_ARGUMENT);
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const { details } = RPC.lookupType("Status").decode(bytes);
  assert.equal(details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
  const { field_violations } = RPC.lookupType("BadRequest").decode(details[0].value);
  const fields = field_violations.map((violation) => violation.field).sort();
  assert.deepEqual(fields, ["num_inference_steps", "prompt"]);
}

for (const check of [unaryCall, stream, cancel, deadline, errorDetails]) {
  await check();
  console.log("ok", check.name);
}
client.close();
