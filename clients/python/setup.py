"""Builds the package: the generated modules come from the API description."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

sys.path.insert(0, str(Path(__file__).parent))
from generate import find_description, generate


class Build(build_py):
    """Generate before the modules are collected."""

    def finalize_options(self):
        generate()
        super().finalize_options()


class SourceDistribution(sdist):
    """A source distribution has the description with it."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        shutil.copy(find_description(), Path(base_dir) / "openapi.json")


setup(cmdclass={"build_py": Build, "sdist": SourceDistribution})
