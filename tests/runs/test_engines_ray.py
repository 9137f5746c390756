"""The engine ray, on this machine: killed workers and lost nodes cost no byte."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import probe
from probe.runs.engine import Engine
from probe.runs.inputs import Inputs
from probe.runs.pool import EngineError, Pool
from tests.runs.chunky import Chunky
from tests.runs.drivers import begin_script, finish_script, stored, wait_for_chunks

pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def pool() -> Iterator[Pool]:
    with Engine(name="ray", workers=2).open(cuda=False) as opened:
        assert opened is not None
        yield opened


def test_a_worker_that_is_killed_costs_its_chunk_alone_and_no_byte(
    inputs: Inputs, pool: Pool, tmp_path: Path
) -> None:
    plain = stored(Chunky(), inputs, tmp_path / "plain")
    assert stored(Chunky(), inputs, tmp_path / "ray", pool) == plain
    (tmp_path / "kill-2").touch()
    assert stored(Chunky(traps=str(tmp_path)), inputs, tmp_path / "killed", pool) == plain
    assert not (tmp_path / "kill-2").exists()
    (tmp_path / "always-1").touch()
    with pytest.raises(
        probe.UserError, match="3 workers exited while computing chunk 2 of 6 of 'second'"
    ) as caught:
        stored(Chunky(traps=str(tmp_path)), inputs, tmp_path / "given up", pool)
    assert "\n" not in str(caught.value)


def test_a_driver_that_is_killed_continues_with_the_same_bytes(
    plain_script: dict[str, bytes], tmp_path: Path
) -> None:
    process = begin_script("ray", tmp_path / "out")
    kept = {path: path.read_bytes() for path in wait_for_chunks(tmp_path / "out")}
    process.kill()
    process.communicate()
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert finish_script("ray", tmp_path / "out") == plain_script


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20})
    try:
        yield made
    finally:
        made.shutdown()


def test_a_node_that_is_removed_costs_its_chunks_alone_and_no_byte(
    inputs: Inputs, cluster: Any, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="no node of the Ray cluster has a CPU"):
        _open(cluster, 2)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20) for _ in range(2)]
    with pytest.raises(EngineError, match=r"no node of the Ray cluster has a GPU.*--device cpu"):
        _open(cluster, 2, cuda=True)
    plain = stored(Chunky(count=8), inputs, tmp_path / "plain")

    def remove() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and len(list((tmp_path / "ray").glob(".chunks-chunky/first*"))) < 3:
            time.sleep(0.05)
        cluster.remove_node(nodes[0], allow_graceful=False)

    remover = threading.Thread(target=remove)
    with Engine(name="ray", workers=2, address=cluster.address).open(cuda=False) as pool:
        remover.start()
        assert stored(Chunky(count=8, seconds=0.5), inputs, tmp_path / "ray", pool) == plain
    remover.join()


def _open(cluster: Any, workers: int, *, cuda: bool = False) -> None:
    with Engine(name="ray", workers=workers, address=cluster.address).open(cuda=cuda):
        pass
