"""What the docs show of frameworks is what happens."""

from pathlib import Path

import pytest
from test_docs import ROOT, run_examples
from warned import lightning_uses_a_deprecated_class_of_torch

for package in ("lightning", "accelerate", "peft", "transformers"):
    pytest.importorskip(package)


@lightning_uses_a_deprecated_class_of_torch
def test_the_examples_in_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # The page writes files.
    run_examples(ROOT / "docs" / "frameworks.md")
