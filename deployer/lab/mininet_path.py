"""Makes Mininet importable: the only place that knows where it may be.

PyPI's `mininet` installs into a virtual environment like anything else. Debian's package of the same name serves the system's
Python only; a virtual environment does not see it. Then just that one package is taken from there, and nothing else.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path

_DEBIAN = Path("/usr/lib/python3/dist-packages/mininet")


def available() -> bool:
    """Whether `import mininet` works, after looking in Debian's place too."""
    if "mininet" in sys.modules:
        return True
    if importlib.util.find_spec("mininet") is None:
        spec = importlib.util.spec_from_file_location(
            "mininet", _DEBIAN / "__init__.py", submodule_search_locations=[str(_DEBIAN)]
        )
        if spec is None or spec.loader is None or not _DEBIAN.is_dir():
            return False
        module = importlib.util.module_from_spec(spec)
        sys.modules["mininet"] = module
        spec.loader.exec_module(module)
    with warnings.catch_warnings():
        # mininet.node imports distutils, which Python 3.11 announces to go away.
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("mininet.net")
        except ImportError:
            sys.modules.pop("mininet", None)
            return False
    return True
