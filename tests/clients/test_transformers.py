"""`transformers` against Weighhouse: a configuration and a tokenizer by their repository's name."""

import json
import tempfile
import unittest
from pathlib import Path

from server import Server, use_environment

SERVER = Server()
HOME = tempfile.TemporaryDirectory(prefix="weighhouse-home-")
use_environment(SERVER.url, SERVER.token, HOME.name)

from huggingface_hub import HfApi  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402
from transformers import AutoConfig, AutoTokenizer  # noqa: E402

REPO = "acme/tiny"
TEXT = "the weigh house weighs the house"


def tearDownModule():
    SERVER.stop()
    HOME.cleanup()


def write_repository(folder):
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator([TEXT], trainers.BpeTrainer(vocab_size=60, special_tokens=["[UNK]"]))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"})
    )
    (folder / "config.json").write_text(
        json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "vocab_size": 60})
    )
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nlibrary_name: transformers\n---\n")


class TransformersTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        api = HfApi()
        api.create_repo(REPO)
        with tempfile.TemporaryDirectory() as folder:
            write_repository(Path(folder))
            cls.commit = api.upload_folder(repo_id=REPO, folder_path=folder).oid

    def test_a_configuration_is_read_at_any_revision(self):
        for revision in ("main", self.commit):
            config = AutoConfig.from_pretrained(REPO, revision=revision)
            self.assertEqual((config.model_type, config.hidden_size), ("llama", 64))

    def test_a_tokenizer_is_read_and_works(self):
        tokenizer = AutoTokenizer.from_pretrained(REPO)
        ids = tokenizer.encode(TEXT)
        self.assertEqual(tokenizer.decode(ids), TEXT)

    def test_a_model_that_is_not_there_is_an_error_that_says_so(self):
        with self.assertRaises(OSError) as caught:
            AutoConfig.from_pretrained("acme/never")
        self.assertIn("acme/never", str(caught.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
