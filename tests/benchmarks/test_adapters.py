"""The peers' adapters, as far as they go without the peers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bodies import oip_row, rows_of
from benchmarks.load import _quantile
from benchmarks.peers.peer import SERVERS, Peer, Place, Variant, variants
from benchmarks.peers.roster import PEERS

KEYS = [peer.key for peer in PEERS]


@pytest.mark.parametrize("peer", PEERS, ids=KEYS)
def test_a_peer_is_run_with_its_delay_and_without_and_with_one_worker(peer: Peer) -> None:
    found = variants(peer)
    assert {variant.delay_s for variant in found} == {peer.delay_s, 0.0}
    assert {variant.threads for variant in found if variant.workers == 1} == {0}


@pytest.mark.parametrize("peer", PEERS, ids=KEYS)
def test_a_peer_listens_on_loopback_only(peer: Peer, tmp_path: Path) -> None:
    models = {"small": tmp_path / "small.onnx"}
    launch = peer.launch(Place(tmp_path / "env", tmp_path, 1234, models), Variant("0", 0.0, 1))
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    served = "".join(Path(part).read_text() for part in launch.command if part.startswith(str(SERVERS) + "/"))
    assert "127.0.0.1" in " ".join(launch.command) + written + served
    assert "0.0.0.0" not in " ".join(launch.command) + written + served


@pytest.mark.parametrize(
    ("peer", "encoding"),
    [(peer, encoding) for peer in PEERS for encoding in peer.encodings],
    ids=lambda given: getattr(given, "key", given),
)
def test_a_body_carries_the_row(peer: Peer, encoding: str) -> None:
    row = rows_of("small", 1)[0]
    data = peer.body(row, encoding).data
    if encoding == "binary":
        assert row.tobytes() in data
    else:
        (numbers,) = re.findall(rb"\[+([-0-9., e]{20,})\]+", data)
        assert np.array_equal(np.array(json.loads(b"[" + numbers + b"]"), np.float32), row)


def test_a_row_is_read_from_binary_tensors() -> None:
    head = json.dumps({"outputs": [{"name": "y"}]}).encode()
    row = np.arange(3, dtype=np.float32)
    read = oip_row(head + row.tobytes(), {"inference-header-content-length": str(len(head))})
    assert np.array_equal(read, row)


def test_seconds_that_wrk_pads_are_read() -> None:
    assert _quantile("     50%  883.85ms\n     90%    1.06s \n", 90) == 1.06
