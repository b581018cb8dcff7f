"""Who is compared with."""

from __future__ import annotations

from benchmarks.peers.bentoml import BentoML
from benchmarks.peers.litserve import LitServe
from benchmarks.peers.mlserver import MLServer
from benchmarks.peers.peer import Peer
from benchmarks.peers.pytriton import PyTriton
from benchmarks.peers.ray_serve import RayServe

PEERS: tuple[Peer, ...] = (MLServer(), LitServe(), BentoML(), RayServe(), PyTriton())
