"""The part of the build that pyproject.toml cannot express: the wheel has the configurations in the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Copies ``configs/`` to ``lightning_gen/configs``; an editable install uses the folder where it is."""

    def run(self) -> None:
        """Build the package, then copy the configurations."""
        super().run()
        if not self.editable_mode:
            target = Path(self.build_lib, "lightning_gen", "configs")
            shutil.copytree("configs", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfigs})
