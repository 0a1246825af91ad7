# make demo   install into .venv (once) and run the main job
# make test   same environment, the whole test suite
# make sanitize   the tests of the compiled parts under sanitizers (GCC)
# make fuzz       a minute of fuzzing guided by coverage: packed files, weights, option files
# make results    the figures of docs/results.md, docs/zoo.md and README.md, from the files in benchmarks/results
# make docs   the site of docs/, with the reference of the Python API, in build/site
# make lint   ruff and pyright
# make clean  remove the environment and what runs leave behind

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check

.PHONY: demo test sanitize fuzz results docs lint clean

demo: .venv/installed
	$(BIN)/basicsr test -opt compsrt_x4_3bit.yml

test: .venv/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

sanitize: .venv/installed
	.ci/sanitize

fuzz: .venv/installed
	$(BIN)/python benchmarks/fuzz/run.py --seconds 60

results: .venv/installed
	$(BIN)/python benchmarks/make_results.py

docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/pyright

# BasicSR before its dependants, by the package's own way: pip alone would fetch a second torch, or fail.
.venv/installed: setup.py pyproject.toml constraints.txt
	@$(PYTHON) compsrt_plugin/pythons.py
	$(PYTHON) -m venv .venv
	$(PIP) install -q -c constraints.txt torch torchvision numpy setuptools wheel
	PIP_QUIET=1 PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -c \
	    "from compsrt_plugin.basicsr_compat.installing import install_basicsr; install_basicsr()"
	$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info results experiments tb_logger
