# Two commands do everything on a machine with Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
# Python files are compiled once at install: Airflow's first start is much faster for it.
export UV_SYSTEM_CERTS := true
export UV_COMPILE_BYTECODE := 1
# A worker takes the next file in the order of tests/conftest.py: the longest first.
BY_FILE := --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow soak lint types imports bench bench-quick check constraints clean

$(BIN)/.installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Tidings needs Python 3.11, 3.12 or 3.13 on the PATH"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing packages into .venv"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt uv
	@$(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e ".[celery,test]" \
		|| $(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[celery,test]"
	@touch $@

demo: $(BIN)/.installed
	@$(BIN)/tidings demo $(if $(ONCE),--once) $(if $(EVERY),--every $(EVERY))

test: $(BIN)/.installed
	@$(BIN)/pytest -m "not slow and not soak" -n 3 $(BY_FILE)

test-slow: $(BIN)/.installed
	@$(BIN)/pytest -m "slow and not soak" -p no:cacheprovider -n 2 $(BY_FILE) --durations 15

soak: $(BIN)/.installed
	@$(BIN)/pytest -m soak -s

lint: $(BIN)/.installed
	@$(BIN)/ruff check . && $(BIN)/ruff format --check src tests bench dags plugins

types: $(BIN)/.installed
	@$(BIN)/mypy src/tidings

imports: $(BIN)/.installed
	@$(BIN)/lint-imports

check: $(BIN)/.installed
	@$(BIN)/tidings check

bench: $(BIN)/.installed
	@$(BIN)/python bench/run.py $(if $(LARGE),--large)

bench-quick: $(BIN)/.installed
	@$(BIN)/python bench/run.py --quick

# Pins for all three Pythons, without addresses.
constraints: $(BIN)/.installed
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --extra celery --extra production --extra test \
		--no-annotate --no-header --no-emit-index-url pyproject.toml -o constraints.txt
	@$(BIN)/uv --version | awk '{print "uv==" $$2}' >> constraints.txt && sort -o constraints.txt constraints.txt

clean:
	rm -rf .venv .demo .tidings .mypy_cache .ruff_cache .pytest_cache .hypothesis
