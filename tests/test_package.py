"""The package's own names, and what importing it costs."""

import inspect
import subprocess
import sys

import weixing


def test_importing_the_package_imports_neither_torch_nor_numba_nor_transformers() -> None:
    code = "import sys, weixing; weixing.zoo['2/128']; print({'torch', 'numba', 'transformers'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert weixing.__version__ == version("weixing")


def test_load_takes_all_that_the_inference_room_takes() -> None:
    from weixing.inference.model import load

    assert inspect.signature(weixing.load).parameters == inspect.signature(load).parameters
