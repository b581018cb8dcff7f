from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

from workbench.client.environment import service_environment


def test_the_services_environment_is_the_one_this_process_began_with() -> None:
    script = """
        import json, os
        from workbench.client.environment import service_environment

        os.environ["CUDA_VISIBLE_DEVICES"] = "set by the notebook"
        print(json.dumps(service_environment()))
    """
    began = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "/nowhere", "INFER_WORKBENCH_MAX_TENSORS": "9"}
    began.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True, env=began
    )
    given = json.loads(done.stdout)
    assert given["INFER_WORKBENCH_MAX_TENSORS"] == "9"
    assert not {"CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "PYTHONPATH"} & set(given)


def test_nothing_of_python_and_no_thread_counts_pass() -> None:
    assert service_environment({"PATH": "/bin", "PYTHONHOME": "x", "MKL_NUM_THREADS": "4"}) == {"PATH": "/bin"}


def test_a_kernels_service_has_the_environment_of_its_jupyter_server() -> None:
    kernel = """
        import json, os
        from workbench.client.environment import service_environment, whose_environment

        print(json.dumps([service_environment(), whose_environment(), os.environ["JPY_PARENT_PID"]]))
    """
    server = f"""
        import os, subprocess, sys

        kernel = {{**os.environ, "JPY_PARENT_PID": str(os.getpid()), "CUDA_VISIBLE_DEVICES": "1", "KERNELS": "x"}}
        kernel["INFER_WORKBENCH_IDLE_END_S"] = "9"
        subprocess.run([sys.executable, "-c", {textwrap.dedent(kernel)!r}], env=kernel, check=True)
    """
    began = {**os.environ, "CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(server)], capture_output=True, text=True, check=True, env=began
    )
    given, whose, server_pid = json.loads(done.stdout)
    assert whose == f"Jupyter server {server_pid}"
    assert given["CUDA_VISIBLE_DEVICES"] == "0"
    assert given["INFER_WORKBENCH_IDLE_END_S"] == "9"
    assert not {"KERNELS", "OMP_NUM_THREADS"} & set(given)
