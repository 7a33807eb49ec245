// grpc-js-reflection-client: the service learned from the server alone, as Postman does.
// Usage: node reflection.mjs HOST:PORT
import assert from "node:assert/strict";
import grpc from "@grpc/grpc-js";
import { GrpcReflection } from "grpc-js-reflection-client";

const address = process.argv[2];
const reflection = new GrpcReflection(address, grpc.credentials.createInsecure());

const services = await reflection.listServices();
assert.ok(services.includes("text2image.Text2ImageService"), services.join());
assert.ok(services.includes("grpc.health.v1.Health"), services.join());
console.log("ok listServices");

const methods = await reflection.listMethods("text2image.Text2ImageService");
const names = methods.map((method) => method.name).sort();
assert.deepEqual(names, ["CheckPrompt", "GenerateImage", "GetStatus", "StreamGenerateImage", "Upscale"]);
console.log("ok listMethods");

const descriptor = await reflection.getDescriptorBySymbol("text2image.Text2ImageService");
const { text2image } = descriptor.getPackageObject({ keepCase: true, longs: String });
const client = new text2image.Text2ImageService(address, grpc.credentials.createInsecure());
const answer = await new Promise((resolve, reject) =>
  client.GenerateImage({ prompt: "a fox", num_inference_steps: 3, seed: 5 }, (error, response) =>
    error ? reject(error) : resolve(response),
  ),
);
assert.equal(answer.images[0].seed, "5");
assert.equal(answer.images[0].data.subarray(1, 4).toString(), "PNG");
console.log("ok GenerateImage");
client.close();
process.exit(0); // the reflection client keeps its channel open
