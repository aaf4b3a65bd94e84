# What a person or a CI runs. `make` alone lists it.

CARGO ?= cargo
# `make demo DATA=FILE_OR_FOLDER REPORT=FILE`
DATA ?=
REPORT ?=
# `make demo PROFILE=dev` takes what `make test` has built
PROFILE ?= demo
# More options of `bots localnet`, as in `make demo ARGS="--kill all"`
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test tools contracts bench clean

help: ## List the targets
	@echo "Portcullis. Targets:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make demo DATA=FILE_OR_FOLDER   replays that recording instead of the project's own scenario"
	@echo "  make demo REPORT=FILE           also writes the report as JSON (docs/report.md)"
	@echo "  make demo ARGS=\"--kill all\"     passes options on to 'bots localnet' (see 'bots localnet --help')"

demo: ## Build the network and run all of it on a recorded attack
	@echo "Building the ledger, the platform, the validator, the miner and bots (several minutes the first time) ..."
	$(CARGO) build --locked --profile $(PROFILE) --bins -p chain -p platform -p validator -p miner -p bots
	$(CARGO) run --quiet --locked --profile $(PROFILE) -p bots --bin bots -- localnet \
		$(if $(DATA),--feed "$(DATA)") $(if $(REPORT),--report "$(REPORT)") $(ARGS)

test: tools ## Run all tests, then clippy and the format check
	$(CARGO) fmt --all --check
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo "$(CARGO) nextest run --workspace --locked" && $(CARGO) nextest run --workspace --locked; \
	else \
		echo "$(CARGO) test --workspace --locked --lib --bins --tests" && $(CARGO) test --workspace --locked --lib --bins --tests; \
	fi
	$(CARGO) test --workspace --locked --doc
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# What the tests need and a fresh machine may not have. Without node, the check of the contracts' artifacts skips itself, aloud.
tools: ## Install what the tests need, where it is missing
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	@if ! command -v npm >/dev/null 2>&1; then \
		echo "npm is not installed: whether the contracts' artifacts match their sources will not be checked"; \
	elif [ ! -d contracts/node_modules/solc ]; then \
		npm install --prefix contracts --no-audit --no-fund \
			|| echo "npm could not install solc: the contracts' artifacts will not be checked"; \
	fi

contracts: tools ## Compile the Solidity sources into contracts/artifacts
	cd contracts && node compile.mjs

bench: ## Measure the engine and the network, each beside its baseline
	$(CARGO) bench --locked -p benches

clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf contracts/node_modules
