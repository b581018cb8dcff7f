from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.function_files import save_function
from tests.helpers.small_bundles import pictures
from workbench.convert.serving_version import ServingVersion
from workbench.core.model import FREE, Signature, TensorSpec
from workbench.errors import SignatureChanged

SERVED = ServingVersion(
    "m", "1", Signature((TensorSpec("text", "BYTES", (FREE,)),), (TensorSpec("label", "BYTES", (FREE,)),))
)


def test_a_bundle_with_a_tokenizer_tells_no_signature_before_its_upload_in_memory_or_in_a_file(tmp_path: Path) -> None:
    bundle = pictures(tmp_path)
    for model in (bundle, bundle.read_bytes()):
        SERVED.refuse_file(model)
        assert not SERVED.differs_in_types_only(model)


def test_a_function_with_other_inputs_is_refused_before_its_upload_in_memory_or_in_a_file(tmp_path: Path) -> None:
    function = save_function(tmp_path / "f.bundle", "def predict(x):\n    return x\n")
    for model in (function, function.read_bytes()):
        with pytest.raises(SignatureChanged, match=r"input 'text' was BYTES \[-1\] and would be absent"):
            SERVED.refuse_file(model)
