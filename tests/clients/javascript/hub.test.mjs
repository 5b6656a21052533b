// The stock `@huggingface/hub` library against Weighhouse.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { commit, createRepo, deleteFile, deleteRepo, downloadFile, fileExists, listFiles, listModels, modelInfo, uploadFiles, whoAmI } from "@huggingface/hub";

const { WEIGHHOUSE_URL: hubUrl, WEIGHHOUSE_TOKEN: accessToken } = process.env;
const repo = "acme/from-javascript";
const server = { hubUrl, accessToken };

const weights = new Uint8Array(3 << 20).map((_, at) => (at * 31 + (at >> 8)) & 255);
const files = { "README.md": "---\nlicense: mit\n---\n", "model.safetensors": weights, "sub/a b.txt": "text" };

async function bytesOf(path) {
  const blob = await downloadFile({ repo, path, ...server });
  return new Uint8Array(await blob.arrayBuffer());
}

test("files go up and come down as they were", async () => {
  await createRepo({ repo, ...server });
  await uploadFiles({
    repo,
    files: Object.entries(files).map(([path, content]) => ({ path, content: new Blob([content]) })),
    ...server,
  });
  const listed = [];
  for await (const entry of listFiles({ repo, recursive: true, ...server })) {
    if (entry.type === "file") listed.push(entry.path);
  }
  assert.deepEqual(listed.sort(), Object.keys(files).sort());
  assert.deepEqual(await bytesOf("model.safetensors"), weights);
  assert.equal(new TextDecoder().decode(await bytesOf("sub/a b.txt")), "text");
});

test("a file is deleted", async () => {
  await deleteFile({ repo, path: "sub/a b.txt", ...server });
  assert.equal(await fileExists({ repo, path: "sub/a b.txt", ...server }), false);
  assert.equal(await fileExists({ repo, path: "README.md", ...server }), true);
});

test("several changes are one commit", async () => {
  const { commit: made } = await commit({
    repo,
    title: "two at once",
    operations: [
      { operation: "addOrUpdate", path: "b.txt", content: new Blob(["b"]) },
      { operation: "delete", path: "model.safetensors" },
    ],
    ...server,
  });
  assert.match(made.oid, /^[0-9a-f]{40}$/);
  const info = await modelInfo({ name: repo, additionalFields: ["sha"], ...server });
  assert.equal(info.sha, made.oid);
});

test("models are listed and people named", async () => {
  const names = [];
  for await (const model of listModels({ search: { owner: "acme" }, ...server })) names.push(model.name);
  assert.deepEqual(names, [repo]);
  assert.equal((await whoAmI({ ...server })).name, "admin");
});

after(() => deleteRepo({ repo, ...server }));
