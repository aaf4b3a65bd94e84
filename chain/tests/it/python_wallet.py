"""What the package bittensor-wallet makes of a wallet that it is given, and a wallet of its own: one JSON object on standard output.

Usage: python_wallet.py read OURS THEIRS PASSWORD < {"message": .., "signatures": {key: hex}}
       python_wallet.py verify < {"message": .., "signatures": {ss58: hex}}
"""

import json
import sys

from bittensor_wallet import Keypair, Wallet


def verified(keypair, message, signature):
    return keypair.verify(message, bytes.fromhex(signature))


def read(ours, theirs, password, given):
    message = given["message"].encode()
    wallet = Wallet(name="ours", hotkey="first", path=ours)
    keys = {"coldkey": wallet.get_coldkey(password=password), "hotkey": wallet.get_hotkey()}

    own = Wallet(name="theirs", hotkey="first", path=theirs)
    cold = Keypair.create_from_mnemonic(Keypair.generate_mnemonic())
    hot = Keypair.create_from_mnemonic(Keypair.generate_mnemonic())
    derived = Keypair.create_from_uri("//Alice")
    own.set_coldkey(cold, encrypt=True, coldkey_password=password)
    own.set_coldkeypub(cold)
    own.set_hotkey(hot)
    own.set_hotkeypub(hot)
    second = Wallet(name="theirs", hotkey="derived", path=theirs)
    second.set_hotkey(derived)
    return {
        "read": {name: key.ss58_address for name, key in keys.items()},
        "public": {"coldkey": wallet.get_coldkeypub().ss58_address, "hotkey": wallet.get_hotkeypub().ss58_address},
        "verified": {name: verified(key, message, given["signatures"][name]) for name, key in keys.items()},
        "made": {
            name: {"address": key.ss58_address, "signature": key.sign(message).hex()}
            for name, key in {"coldkey": cold, "first": hot, "derived": derived}.items()
        },
    }


def verify(given):
    message = given["message"].encode()
    return {
        address: verified(Keypair(ss58_address=address), message, signature)
        for address, signature in given["signatures"].items()
    }


given = json.load(sys.stdin)
answer = read(*sys.argv[2:], given) if sys.argv[1] == "read" else verify(given)
# The package writes to standard output too: the answer is the last line.
print()
print(json.dumps(answer))
