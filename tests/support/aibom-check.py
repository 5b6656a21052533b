"""Holds bills of materials against the validators of CycloneDX and SPDX.

    aibom-check.py WEIGHHOUSE MODELS

MODELS is what `weighhouse-fixtures` writes. The models with other cards are made beside it.
"""

import json
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_python_model import v3_0_1 as spdx

WEIGHHOUSE, MODELS = (Path(word).resolve() for word in sys.argv[1:3])

RICH = """---
license: llama3.1
language: [en, de]
library_name: transformers
pipeline_tag: text-generation
datasets: [acme/tickets, open web]
base_model: [meta-llama/Llama-3.1-8B, "odd name with spaces"]
base_model_relation: finetune
co2_eq_emissions: {emissions: 12.5, hardware_used: 8 x A100}
model-index:
- name: rich
  results:
  - task: {type: text-generation}
    dataset: {name: MMLU, type: mmlu}
    metrics: [{type: accuracy, value: 0.61}, {type: f1, value: 0.5}]
---
# Rich
"""

HOSTILE = """---
license: ["apache-2.0", {a: b}, "\\u202e<script>", null, 7]
license_name: {a: [b]}
language: {a: b}
pipeline_tag: ["\\"}], \\n", 1]
datasets: [[[[[["deep"]]]]], "a/b?c#d", "../..", "javascript:alert(1)", "http://x y", "%s", 1.5, true]
base_model: ["a/b/c/d", "https://example.org/a b", "\\0", "x/y\\u0085", {a: b}, "ä/ö"]
base_model_relation: [1, 2]
co2_eq_emissions: {emissions: {a: b}}
model-index: [{results: 7}, 9, {results: [{metrics: [{type: {}, value: []}, {type: x, value: .nan}, {type: x, value: 1}]}]}]
---
"""


def bill(model, form):
    """The document of a model, which nothing of this machine's configuration changes."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("WEIGHHOUSE_")}
    words = [WEIGHHOUSE, "aibom", MODELS / model, "--format", form]
    return subprocess.run(words, env=surroundings, check=True, capture_output=True, text=True).stdout


def with_card(model, card):
    shutil.copytree(MODELS / "tiny", MODELS / model)
    (MODELS / model / "README.md").write_text(card)


class Bills(unittest.TestCase):
    names = ("tiny", "broken", "rich", "bare", "hostile")

    @classmethod
    def setUpClass(cls):
        with_card("rich", RICH)
        with_card("hostile", HOSTILE)
        (MODELS / "bare").mkdir()
        (MODELS / "bare" / "notes.txt").write_text("nothing\n")

    def test_cyclonedx_follows_its_strict_schema(self):
        validator = JsonStrictValidator(SchemaVersion.V1_7)
        for name in self.names:
            with self.subTest(name):
                self.assertIsNone(validator.validate_str(bill(name, "cyclonedx")))

    def test_the_cyclonedx_validator_refuses_what_is_wrong(self):
        document = json.loads(bill("tiny", "cyclonedx"))
        document["metadata"]["component"]["type"] = "model"
        self.assertIsNotNone(JsonStrictValidator(SchemaVersion.V1_7).validate_str(json.dumps(document)))

    def read_spdx(self, text):
        elements = spdx.SHACLObjectSet()
        spdx.JSONLDDeserializer().deserialize_data(json.loads(text), elements)
        return elements

    def test_spdx_follows_its_model(self):
        for name in self.names:
            with self.subTest(name):
                elements = self.read_spdx(bill(name, "spdx"))
                packages = list(elements.foreach_type("ai_AIPackage", match_subclass=False))
                self.assertGreaterEqual(len(packages), 1)
                self.assertLessEqual(elements.missing_ids, KNOWN)

    def test_the_spdx_model_refuses_what_is_wrong(self):
        text = bill("rich", "spdx")
        self.assertIn('"noAssertion"', text)
        with self.assertRaises(Exception):
            self.read_spdx(text.replace('"noAssertion"', '"nonsense"'))

    def test_spdx_has_one_license_of_each_kind(self):
        for name in self.names:
            with self.subTest(name):
                graph = json.loads(bill(name, "spdx"))["@graph"]
                for package in (e for e in graph if e["type"] in ("ai_AIPackage", "dataset_DatasetPackage")):
                    for kind in ("hasDeclaredLicense", "hasConcludedLicense"):
                        found = [e for e in graph if e.get("from") == package["spdxId"] and e["relationshipType"] == kind]
                        self.assertEqual([len(one["to"]) for one in found], [1], (package["name"], kind))

    def test_a_rich_card_is_in_both_documents(self):
        component = json.loads(bill("rich", "cyclonedx"))["metadata"]["component"]
        card = component["modelCard"]
        self.assertEqual(card["modelParameters"]["task"], "text-generation")
        self.assertEqual([one["name"] for one in card["modelParameters"]["datasets"]], ["acme/tickets", "open web"])
        self.assertEqual(card["quantitativeAnalysis"]["performanceMetrics"][0]["value"], "0.61")
        # The weights' own metadata names another license than the card, and both are declared.
        self.assertEqual(component["licenses"][0]["expression"], "LicenseRef-llama3.1 AND Apache-2.0")
        # What is no model's name is a finding and no ancestor.
        self.assertEqual(len(component["pedigree"]["ancestors"]), 1)
        kinds = [element["type"] for element in json.loads(bill("rich", "spdx"))["@graph"]]
        self.assertEqual(kinds.count("dataset_DatasetPackage"), 2)
        self.assertEqual(kinds.count("ai_AIPackage"), 2)
        self.assertEqual(kinds.count("simplelicensing_SimpleLicensingText"), 1)

    def test_the_same_files_give_the_same_bytes(self):
        for form in ("cyclonedx", "spdx", "documentation"):
            self.assertEqual(bill("rich", form), bill("rich", form))

    def test_a_draft_says_what_the_provider_supplies(self):
        self.assertIn("**The provider supplies:** energy used", bill("bare", "documentation"))


# Individuals that the specification defines and no document has to hold.
KNOWN = {"https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense"}

if __name__ == "__main__":
    result = unittest.main(argv=sys.argv[:1], exit=False).result
    failed = len(result.failures) + len(result.errors)
    # In the form that .ci/run adds up.
    print(f"# pass {result.testsRun - failed}\n# fail {failed}")
    sys.exit(1 if failed else 0)
