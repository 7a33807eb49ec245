// SillyTavern's server, the part that speaks with the source of pictures; we are its page.
// Usage: node sillytavern.mjs FOLDER_OF_PACKAGES http://HOST:PORT AUTO_BODY SDCPP_BODY
import assert from "node:assert/strict";
import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, url, auto, sdcpp] = process.argv.slice(2);
const sillyTavern = join(folder, "node_modules/sillytavern");
const { setConfigFilePath } = await import(join(sillyTavern, "src/util.js"));
setConfigFilePath(join(sillyTavern, "default/config.yaml"));
const { router } = await import(join(sillyTavern, "src/endpoints/stable-diffusion.js"));
const express = createRequire(join(folder, "index.js"))("express");
for (const level of ["debug", "info", "error"]) console[level] = () => {}; // it logs requests

const server = express().use(express.json()).use(router).listen(0, "127.0.0.1");
await once(server, "listening");

function post(path, fields = {}, options = {}) {
  const body = JSON.stringify({ url, auth: "any:unused", ...fields });
  const headers = { "content-type": "application/json" };
  const address = `http://127.0.0.1:${server.address().port}${path}`;
  return fetch(address, { method: "POST", headers, body, ...options });
}

async function answer(path, fields) {
  const response = await post(path, fields);
  assert.equal(response.status, 200, path);
  return response.json();
}

const png = (b64) => Buffer.from(b64, "base64").subarray(1, 4).toString();

assert.equal((await post("/ping")).status, 200);
const [{ value }] = await answer("/models");
assert.equal(await (await post("/get-model")).text(), value);
assert.equal((await post("/set-model", { model: value })).status, 200);
assert.ok((await answer("/samplers")).includes("Euler a"));
assert.ok((await answer("/schedulers")).includes("karras"));
assert.equal((await answer("/upscalers"))[0], "None");
assert.deepEqual(await answer("/vaes"), []);
console.log("ok menus");

const made = await answer("/generate", { ...JSON.parse(auto), url });
assert.equal(png(made.images[0]), "PNG");
console.log("ok generate");

assert.equal((await post("/sdcpp/ping")).status, 200);
const [model] = (await answer("/sdcpp/models")).data;
const drawn = await answer("/sdcpp/generate", { ...JSON.parse(sdcpp), model: model.id });
assert.equal(png(drawn.images[0]), "PNG");
console.log("ok sdcpp");

const left = new AbortController();
const slow = { prompt: "a slow fox", steps: 150, width: 256, height: 256 };
const waiting = post("/generate", slow, { signal: left.signal });
for (let told = { progress: 0 }; !told.progress; ) {
  told = await (await fetch(`${url}/sdapi/v1/progress`)).json();
}
left.abort();
await assert.rejects(waiting, { name: "AbortError" });
console.log("ok leave");
server.close();
server.closeAllConnections();
