#!/bin/sh
# Makes a hotkey for every neuron, registers it and stakes for the validators, and registers the recording's invariants: once, however
# often it is started.
# What the ledger has done already it refuses (exit code 1), which is as good as done.
set -eu

wallets=/wallets
ledger=http://ledger:9944

done_or_refused() { "$@" || [ $? -eq 1 ]; }

neuron() { # NAME [STAKE]
    file="$wallets/$1.json"
    [ -f "$file" ] || ledger wallet new "$file"
    done_or_refused ledger register --ledger "$ledger" --hotkey "$file"
    if [ $# -gt 1 ] && [ ! -f "$wallets/$1.staked" ]; then
        ledger stake --ledger "$ledger" --hotkey "$file" --amount "$2"
        touch "$wallets/$1.staked"
    fi
}

# What the platform's stored secrets are encrypted with; on a server there is no database file to keep it beside.
if [ ! -f "$wallets/platform.secrets-key" ]; then
    (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > "$wallets/platform.secrets-key")
fi
if [ ! -f "$wallets/invariants.added" ]; then
    platform invariants add --database "$DATABASE" --file /usr/share/portcullis/scenarios/vault-reentrancy.invariants.json
    touch "$wallets/invariants.added"
fi
neuron validator-1 1500
neuron validator-2 1250
neuron validator-3 1000
for n in 1 2 3 4 5 6 7 8 9 10; do
    neuron "miner-$n"
done
