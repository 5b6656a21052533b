// Statements of a running registry, held by sigstore's own JavaScript verifier with a place in the
// registry's log required. All it is given is public: the statement key and `trusted_root.json`.

import assert from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { commit, createRepo } from "@huggingface/hub";
import { bundleFromJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { toSignedEntity, toTrustMaterial, Verifier } from "@sigstore/verify";

const { WEIGHHOUSE_URL: hubUrl, WEIGHHOUSE_TOKEN: accessToken } = process.env;
const repo = "acme/in-the-log";
const server = { hubUrl, accessToken };
const about = `/v1/models/${repo}/revisions/main`;

async function get(path) {
  const response = await fetch(hubUrl + path, { headers: { authorization: `Bearer ${accessToken}` } });
  assert.equal(response.status, 200, `${path}: ${await response.clone().text()}`);
  return response.json();
}

/** The first statement of the registry's own that has its place in the log. */
async function statement() {
  for (let attempt = 0; attempt < 240; attempt += 1) {
    const { attestations } = await get(`${about}/provenance`);
    const logged = attestations.find((found) => found.log_index !== null && found.log_index !== undefined);
    if (logged) return get(`${about}/attestations/${logged.sha256}`);
    await pause(250);
  }
  return assert.fail("no statement was logged within a minute");
}

let bundle;
let root;
let key;

before(async () => {
  await createRepo({ repo, ...server });
  const content = new Blob(["---\nlicense: mit\n---\n"]);
  await commit({ repo, title: "a card", operations: [{ operation: "addOrUpdate", path: "README.md", content }], ...server });
  bundle = await statement();
  root = await (await fetch(`${hubUrl}/log/trusted_root.json`)).json();
  const keys = await get("/v1/audit/keys");
  const { public_key: pem } = keys.find((found) => found.purpose === "statement");
  key = createPublicKey(pem).export({ type: "spki", format: "der" });
});

function verify(document, trusted = root) {
  const { hint } = document.verificationMaterial.publicKey;
  const trust = toTrustMaterial(TrustedRoot.fromJSON(trusted), { [hint]: { rawBytes: key } });
  const verifier = new Verifier(trust, { tlogThreshold: 1, ctlogThreshold: 0, timestampThreshold: 0 });
  return verifier.verify(toSignedEntity(bundleFromJSON(document)));
}

/** The bundle after `change` was made to its entry of the log. */
function changed(change) {
  const document = structuredClone(bundle);
  change(document.verificationMaterial.tlogEntries[0], document.verificationMaterial);
  return document;
}

function flip(base64) {
  const bytes = Buffer.from(base64, "base64");
  bytes[bytes.length >> 1] ^= 1;
  return bytes.toString("base64");
}

test("a statement is in the registry's log", () => {
  assert.ok(verify(bundle).key);
});

test("a statement without its place in the log is refused", () => {
  assert.throws(() => verify(changed((_, material) => (material.tlogEntries = []))), { name: "VerificationError" });
});

const changes = {
  "a flipped hash of the proof": ({ inclusionProof: { hashes } }) => (hashes[0] = flip(hashes[0])),
  "a flipped root of the checkpoint": ({ inclusionProof: { checkpoint } }) => {
    const [origin, size, hash, ...rest] = checkpoint.envelope.split("\n");
    checkpoint.envelope = [origin, size, flip(hash), ...rest].join("\n");
  },
  "another size of the checkpoint": ({ inclusionProof: { checkpoint } }) => {
    const [origin, size, ...rest] = checkpoint.envelope.split("\n");
    checkpoint.envelope = [origin, String(BigInt(size) + 1n), ...rest].join("\n");
  },
  "a flipped signature of the checkpoint": ({ inclusionProof: { checkpoint } }) => {
    const [text, signature] = checkpoint.envelope.trimEnd().split(/ (?=\S+$)/);
    checkpoint.envelope = `${text} ${flip(signature)}\n`;
  },
  "a flipped leaf": (entry) => (entry.canonicalizedBody = flip(entry.canonicalizedBody)),
  "another place": (entry) => {
    entry.logIndex = String(BigInt(entry.logIndex) ^ 1n);
    entry.inclusionProof.logIndex = entry.logIndex;
  },
};

for (const [name, change] of Object.entries(changes)) {
  test(`${name} is refused`, () => {
    assert.throws(() => verify(changed(change)), { name: "VerificationError" });
  });
}

test("the log of another registry is refused", () => {
  const other = structuredClone(root);
  other.tlogs[0].logId.keyId = flip(other.tlogs[0].logId.keyId);
  assert.throws(() => verify(bundle, other), { name: "VerificationError" });
});
