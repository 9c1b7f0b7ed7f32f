.PHONY: demo test studies bench conformance setup

demo:
	@./scripts/demo

test:
	@./scripts/test

studies:
	@./scripts/studies $(ARGS)

setup:
	@./scripts/setup

VENV ?= .venv

bench: setup
	@$(VENV)/bin/python -m experiments.bench $(ARGS)

conformance: setup
	@$(VENV)/bin/python -m experiments.conformance $(ARGS)
