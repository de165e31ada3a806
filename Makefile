# Every command of the project. `make` alone explains them; the recipes call tools/, which need nothing but Python.

# The first Python on the PATH that is new enough; PYTHON=... overrides.
PYTHON ?= $(firstword $(foreach candidate,python3 python3.11 python3.12 python3.13 python3.14, \
	$(shell $(candidate) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(candidate))))
PY := .venv/bin/python
# Images set it to stay small. Here each of many processes would compile all that it imports, seconds at every start.
unexport PYTHONDONTWRITEBYTECODE
# Processes of pytest, for two processors: one of three waits for what it has started. Many more make time limits fail.
JOBS ?= 3
# What needs PostgreSQL, Redis or a whole service runs in the second leg of `make test`.
SERVERS := postgres or redis or service

.DEFAULT_GOAL := help
.PHONY: help
help:  ## Print this list
	@awk 'BEGIN {FS = ":.*## "} \
		/^## / {printf "\n%s\n", substr($$0, 4)} \
		/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nOptions: make run PORT=9000 DATABASE_URL=... (any setting of .env.example; DB=postgres starts one);'
	@printf ' make test ARGS="-k words" JOBS=4; PYTHON=python3.11 everywhere.\n'

# ---------------------------------------------------------------------------------------------------------------------
## The service

.PHONY: run setup
run: python  ## Install, prepare and run everything on this machine; Ctrl-C ends it
	@$(PYTHON) -m tools.run $(if $(DB),--db $(DB))

setup: python  ## Make .venv with the requirements and the tools of development
	@$(PYTHON) -m tools.environment --dev

# ---------------------------------------------------------------------------------------------------------------------
## Tests

# The proofs of docs/ledger.md that lie outside tests/faults.
PROOFS := tests/billing/payments tests/billing/test_books_against_a_model.py tests/billing/test_holds.py \
	tests/gateway/ratelimit tests/gateway/services/test_place.py tests/gateway/test_recount.py

.PHONY: test test-fast test-servers test-faults test-stripe coverage
test: test-fast test-servers  ## The whole suite: what runs in its own process, then what needs servers

test-fast: setup  ## The bulk of the suite on SQLite, in parallel
	$(PY) -m pytest -n $(JOBS) -m "not ($(SERVERS))" $(ARGS)

test-servers: setup  ## Whole services, browser and clients; concurrency and limits on PostgreSQL and Redis
	$(PY) -m tests.support.servers -- $(PY) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		-m "$(SERVERS)" $(ARGS)

test-faults: setup  ## Kill processes and servers under load, 100 seeds (SEEDS=n for another number); takes long
	SEEDS=$(or $(SEEDS),100) $(PY) -m tests.support.servers -- $(PY) -m pytest tests/faults $(PROOFS) $(ARGS)

test-stripe: setup  ## The payment scenarios at Stripe's test mode (STRIPE_TEST_KEY=sk_test_...), not the stand-in alone
	@test -n "$$STRIPE_TEST_KEY" || { echo "STRIPE_TEST_KEY is not set: a secret key of Stripe's test mode."; exit 1; }
	$(PY) -m pytest -m stripe tests/billing/scenarios $(ARGS)

coverage: setup  ## The whole suite under coverage, with the floor of pyproject.toml
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -m "not ($(SERVERS))" $(ARGS)
	$(PY) -m tests.support.servers -- $(PY) -m coverage run -m pytest -m "($(SERVERS)) and not browser" $(ARGS)
	$(PY) -m coverage combine --quiet
	$(PY) -m coverage report

# ---------------------------------------------------------------------------------------------------------------------
## Quality

.PHONY: check lint format types imports migrations
check: lint types imports migrations test  ## All that the continuous integration runs, in its order

lint: setup  ## Style of Python and templates
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m djlint --quiet --lint templates

format: setup  ## Rewrite Python in the project's style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: setup  ## mypy, strict
	$(PY) -m mypy

imports: setup  ## Who may import whom
	.venv/bin/lint-imports --no-logo

migrations: setup  ## The models and their migrations agree
	$(PY) manage.py makemigrations --check --dry-run

# ---------------------------------------------------------------------------------------------------------------------
## Measurements and pictures

.PHONY: bench gallery screenshots
bench: setup  ## Every benchmark; tables on the screen, JSON in benchmarks/results
	for part in benchmarks/*/__main__.py; do $(PY) -m "$$(dirname "$$part" | tr / .)" $(ARGS) || exit 1; done

gallery: setup  ## Render a page of sample pictures with the installed models
	$(PY) -m tools.gallery $(ARGS)

screenshots: setup  ## Photograph the pages of the service that `make run` has started, light and dark
	. .run/demo.env && $(PY) -m tools.screenshots --base-url "$$URL" --email "$$ADMIN_EMAIL" \
		--password "$$ADMIN_PASSWORD" $(ARGS)

# ---------------------------------------------------------------------------------------------------------------------
.PHONY: python
python:
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer is needed and none was found on the PATH (asked: python3, python3.11 to 3.14)."; \
		echo "Install it, or name it: make run PYTHON=/path/to/python3.11"; exit 1; }
