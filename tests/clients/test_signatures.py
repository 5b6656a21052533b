"""What Weighhouse signs, held by verifiers that are not ours: OpenSSF's `model_signing` over a
model, and in-toto's own types over the statements. No network is needed.

WEIGHHOUSE_SAMPLES names a folder that the example `signed_samples` of the crate `verifier` wrote.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

from google.protobuf import json_format
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement

SAMPLES = pathlib.Path(os.environ["WEIGHHOUSE_SAMPLES"])
STATEMENTS = ("probe", "license-review", "decision")


class ModelSigningTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.model = self.folder / "model"
        shutil.copytree(SAMPLES / "model", self.model)
        self.signature = self.folder / "model.sig"
        shutil.copy(SAMPLES / "model.sig", self.signature)

    def verify(self):
        program = pathlib.Path(sys.executable).parent / "model_signing"
        command = [program, "verify", "key", self.model, "--signature", self.signature]
        command += ["--public_key", SAMPLES / "key.pem"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        return done.returncode == 0, done.stdout + done.stderr

    def test_our_signature_is_accepted(self):
        accepted, output = self.verify()
        self.assertTrue(accepted, output)

    def test_a_changed_byte_of_a_file_is_refused(self):
        weights = self.model / "model.gguf"
        weights.write_bytes(b"W" + weights.read_bytes()[1:])
        accepted, output = self.verify()
        self.assertFalse(accepted)
        self.assertIn("model.gguf", output)

    def test_a_changed_byte_of_the_signature_is_refused(self):
        bundle = json.loads(self.signature.read_text())
        signature = bundle["dsseEnvelope"]["signatures"][0]
        changed = bytearray(base64.b64decode(signature["sig"]))
        changed[-1] ^= 1
        signature["sig"] = base64.b64encode(changed).decode()
        self.signature.write_text(json.dumps(bundle))
        self.assertFalse(self.verify()[0])

    def test_a_file_that_nobody_signed_is_refused(self):
        (self.model / "more.bin").write_bytes(b"more")
        accepted, output = self.verify()
        self.assertFalse(accepted)
        self.assertIn("more.bin", output)


def payload(name):
    bundle = json.loads((SAMPLES / f"{name}.sigstore.json").read_text())
    return json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))


class InTotoTest(unittest.TestCase):
    def test_our_statements_are_statements(self):
        for name in STATEMENTS:
            with self.subTest(name):
                message = json_format.ParseDict(payload(name), statement_pb2.Statement())
                Statement.copy_from_pb(message).validate()

    def test_our_probe_result_has_the_fields_of_a_test_result(self):
        predicate = payload("probe")["predicate"]
        # Protobuf refuses the names of extensions, which are URIs, unless it is told to skip them.
        read = json_format.ParseDict(predicate, test_result_pb2.TestResult(), ignore_unknown_fields=True)
        self.assertEqual(read.result, "PASSED")
        self.assertEqual(list(read.passed_tests), ["L0", "L4"])
        self.assertEqual(len(read.configuration), 1)

    def test_our_decision_has_the_fields_of_a_summary_but_one(self):
        predicate = payload("decision")["predicate"]
        # SLSA has an array here, and in-toto-attestation 0.9.3 a single text.
        with self.assertRaisesRegex(json_format.ParseError, "verifiedLevels"):
            json_format.ParseDict(predicate, vsa_pb2.VerificationSummary(), ignore_unknown_fields=True)
        levels = predicate.pop("verifiedLevels")
        self.assertIn("SLSA_BUILD_LEVEL_UNEVALUATED", levels)
        read = json_format.ParseDict(predicate, vsa_pb2.VerificationSummary(), ignore_unknown_fields=True)
        self.assertEqual(read.verification_result, "PASSED")
        self.assertTrue(read.resource_uri.startswith("weighhouse://acme/tiny@"))


if __name__ == "__main__":
    unittest.main()
