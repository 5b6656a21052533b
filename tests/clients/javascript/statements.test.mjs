// What Weighhouse signs, held by sigstore's own JavaScript verifier with the public key alone.
// WEIGHHOUSE_SAMPLES names a folder that the example `signed_samples` of the crate `verifier` wrote.

import assert from "node:assert/strict";
import { createPublicKey, createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { bundleFromJSON } from "@sigstore/bundle";
import { toSignedEntity, Verifier } from "@sigstore/verify";

const samples = process.env.WEIGHHOUSE_SAMPLES;
const pem = readFileSync(join(samples, "key.pem"), "utf8");
const hint = createHash("sha256").update(pem).digest("hex");

function verify(document) {
  const trust = {
    certificateAuthorities: [],
    timestampAuthorities: [],
    tlogs: [],
    ctlogs: [],
    publicKey: (asked) => {
      assert.equal(asked, hint);
      return { publicKey: createPublicKey(pem), validFor: () => true };
    },
  };
  const verifier = new Verifier(trust, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
  return verifier.verify(toSignedEntity(bundleFromJSON(document)));
}

for (const name of ["model.sig", "probe.sigstore.json", "license-review.sigstore.json", "decision.sigstore.json"]) {
  const read = () => JSON.parse(readFileSync(join(samples, name), "utf8"));

  test(`${name} is accepted`, () => {
    assert.ok(verify(read()).key);
  });

  test(`${name} with a changed statement is refused`, () => {
    const document = read();
    const payload = Buffer.from(document.dsseEnvelope.payload, "base64");
    payload[payload.length - 2] ^= 1;
    document.dsseEnvelope.payload = payload.toString("base64");
    assert.throws(() => verify(document), { name: "VerificationError" });
  });

  test(`${name} with a changed signature is refused`, () => {
    const document = read();
    const [signature] = document.dsseEnvelope.signatures;
    const bytes = Buffer.from(signature.sig, "base64");
    bytes[bytes.length - 1] ^= 1;
    signature.sig = bytes.toString("base64");
    assert.throws(() => verify(document), { name: "VerificationError" });
  });
}
