# What a person or a CI runs. `make` alone lists it.

CARGO ?= cargo
# `make demo DATA=FILE_OR_FOLDER REPORT=FILE`
DATA ?=
REPORT ?=
# `make demo PROFILE=dev` takes what `make test` has built
PROFILE ?= demo
# More options of `bots localnet`, as in `make demo ARGS="--kill all"`
ARGS ?=

# Where they are built. `cargo run -p bots` would build the dependencies once more, with the features that bots alone needs.
BINARIES = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

.DEFAULT_GOAL := help
.PHONY: help demo demo-live race anvil test tools contracts bench clean

help: ## List the targets
	@echo "Portcullis. Targets:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make demo DATA=FILE_OR_FOLDER   replays that recording instead of the project's own scenario"
	@echo "  make demo REPORT=FILE           also writes the report as JSON (docs/report.md)"
	@echo "  make demo-live ARGS=\"--block-time 1s\"  a living chain with faster blocks"
	@echo "  make demo-live ARGS=\"--open\"   also opens the platform's web page; Ctrl-C ends everything"
	@echo "  make demo-live ARGS=\"--without audit,billing\"  leaves parts out (keepers, audit, billing)"
	@echo "  make demo ARGS=\"--kill all\"     passes options on to 'bots localnet' (see 'bots localnet --help')"

demo: ## Build the network and run all of it on a recorded attack
	@echo "Building the ledger, the platform, the validator, the miner and bots (several minutes the first time) ..."
	$(CARGO) build --locked --profile $(PROFILE) --bins -p chain -p platform -p validator -p miner -p bots
	$(BINARIES)/bots localnet \
		$(if $(DATA),--feed "$(DATA)") $(if $(REPORT),--report "$(REPORT)") $(ARGS)

demo-live: anvil ## All services on a living chain: anvil is started, keepers, audits and payments set up, the attack sent
	@echo "Building the network, with keepers, auditors and monitors (several minutes the first time) ..."
	$(CARGO) build --locked --profile $(PROFILE) --bins -p chain -p platform -p validator -p miner -p keeper -p audit -p billing -p bots
	$(BINARIES)/bots localnet --live \
		$(if $(REPORT),--report "$(REPORT)") $(ARGS)

race: anvil ## A hundred attacks on a real node against the pause, with Portcullis and without (ARGS="--attacks 10")
	$(CARGO) build --locked --profile $(PROFILE) --bins -p chain -p platform -p validator -p miner -p keeper -p bots
	$(BINARIES)/bots race $(if $(REPORT),--report "$(REPORT)") $(ARGS)

# The development node of `demo-live`: ANVIL, else the one in PATH, else npm installs it.
anvil:
	@if [ -n "$$ANVIL" ] || command -v anvil >/dev/null 2>&1 || [ -d testkit/node_modules/@foundry-rs/anvil ]; then :; \
	elif command -v npm >/dev/null 2>&1; then \
		npm install --prefix testkit --no-audit --no-fund --no-package-lock; \
	else \
		echo "anvil is not installed, and there is no npm to install it: install Foundry or node, or set ANVIL=PATH"; exit 2; \
	fi

# Clippy's driver compiles like the compiler, and lints: what the tests need is built and linted in one go, where `cargo clippy` would
# have to read every dependency once more (four minutes on two cores). The benches are built for their lints.
LINTED = RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS=-Dwarnings $(CARGO)
# Most of the time a test waits, for a block or a process.
THREADS = $(shell expr 2 '*' $$(getconf _NPROCESSORS_ONLN) + 1)

test: tools ## Build and lint everything, run all tests, check the format
	$(CARGO) fmt --all --check
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		echo "$(CARGO) nextest run --workspace --locked" && $(LINTED) nextest run --workspace --locked --test-threads $(THREADS); \
	else \
		echo "$(CARGO) test --workspace --locked --lib --bins --tests" && $(LINTED) test --workspace --locked --lib --bins --tests; \
	fi
	$(LINTED) test --workspace --locked --doc
	$(LINTED) build --workspace --locked --benches

# What the tests need and a fresh machine may not have. Without node, what needs it skips itself, aloud.
tools: ## Install what the tests need, where it is missing
	@$(CARGO) fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@$(CARGO) clippy --version >/dev/null 2>&1 || rustup component add clippy
	@if ! command -v npm >/dev/null 2>&1; then \
		echo "npm is not installed: tests of the contracts' artifacts and of a living chain will skip themselves"; \
	else \
		[ -d contracts/node_modules/solc ] || npm install --prefix contracts --no-audit --no-fund --no-package-lock \
			|| echo "npm could not install solc: the contracts' artifacts will not be checked"; \
		[ -d testkit/node_modules/@foundry-rs/anvil ] || npm install --prefix testkit --no-audit --no-fund --no-package-lock \
			|| echo "npm could not install anvil: tests of a living chain will skip themselves"; \
	fi

contracts: tools ## Compile the Solidity sources into contracts/artifacts
	cd contracts && node compile.mjs

bench: ## Measure the engine and the network, each beside its baseline
	$(CARGO) bench --locked -p benches

clean: ## Remove everything that was built
	$(CARGO) clean
	rm -rf contracts/node_modules
