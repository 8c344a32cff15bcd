# Needs Python >= 3.11, pip and make; everything else goes into .envs/.
PYTHON ?= python3
# jax, torch or tensorflow. Empty: all three for tests, and jax for the demo.
BACKEND ?=
TOX = .envs/tools/bin/tox
export TOX_OVERRIDE = testenv.base_python=$(PYTHON)

.DEFAULT_GOAL := help
.PHONY: help demo docs test soak lint clean supported

help:
	@echo "make demo    train on handwritten digits: plain, inhibited and penalized (under 1 min)"
	@echo "make test    set up and run every check, on each backend"
	@echo "make soak    the same with thousands of random examples a property (long)"
	@echo "make lint    style, types and imports only"
	@echo "make docs    the site, in site/index.html"
	@echo "make clean   remove environments, reports and caches"
	@echo
	@echo "BACKEND=jax|torch|tensorflow   one backend, for example: make demo BACKEND=torch"
	@echo "PYTHON=python3.12              another interpreter than python3"

demo: $(TOX)
	@$(TOX) run -e demo-$(or $(BACKEND),jax)

test: $(TOX)
	@$(PYTHON) tools/check.py $(BACKEND)

soak: $(TOX)
	@$(PYTHON) tools/check.py --soak $(BACKEND)

docs: $(TOX)
	@$(TOX) run -e docs

lint: $(TOX)
	@$(TOX) run -e lint

# Without pip, and filled by the calling Python's pip: Debian's Python can neither put
# pip into an environment nor install outside of one. The environments that tox makes
# have their own, which follows the same configuration (pip.conf, PIP_...).
$(TOX): | supported
	@echo "Installing tox into .envs/tools ..."
	@$(PYTHON) -m venv --clear --without-pip .envs/tools
	@$(PYTHON) -m pip --python .envs/tools/bin/python install --quiet "tox==4.67.15"

clean:
	rm -rf .envs .reports build dist site *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

supported:
	@command -v "$(PYTHON)" >/dev/null || \
	  { echo "$(PYTHON) not found: install Python 3.11 or newer, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) tools/supported.py
