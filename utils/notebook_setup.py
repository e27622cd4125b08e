"""What the first cell of each notebook does once it has found this package."""

import os
from importlib.util import find_spec

PACKAGES = ("numpy", "pandas", "matplotlib", "tensorflow")
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # hide TensorFlow's C++ log
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # leave GPU memory to other notebooks
}


def prepare_notebook() -> None:
    """Check that the kernel has the packages, and set TensorFlow's environment variables.

    Variables that are set already keep their values.

    Raises:
        SystemExit: A package is missing. Jupyter shows the message without a traceback.
    """
    missing = [name for name in PACKAGES if not find_spec(name)]
    if missing:
        raise SystemExit(
            f"This kernel has no {', '.join(missing)}: choose that of the project's folder .venv. "
            "VS Code: 'Select Kernel', 'Python Environments'. JupyterLab: start it with "
            "`make lab`. To make .venv, or to use this kernel: pip install -r requirements.txt."
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
