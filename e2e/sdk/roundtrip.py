"""Drives the published client (paramant-sdk 3.0.0, unmodified) for the demo and the tests.

usage: roundtrip.py register | send FILE RECIPIENT | receive HASH OUT RECEIPT      (settings by environment)
PARAMANT_RELAY, PARAMANT_API_KEY, PARAMANT_DEVICE, HOME (the client keeps its keys in ~/.paramant).
Prints one JSON object. Exit 4 when the relay says the file is gone, 1 on anything else.
"""
import json
import os
import sys

from paramant_sdk import GhostPipe, GhostPipeError


def client():
    return GhostPipe(
        os.environ["PARAMANT_API_KEY"], os.environ["PARAMANT_DEVICE"], relay=os.environ["PARAMANT_RELAY"]
    )


def main(argv):
    pipe = client()
    pipe.receive_setup()
    if argv[0] == "register":
        print(json.dumps({"device": os.environ["PARAMANT_DEVICE"]}))
    elif argv[0] == "send":
        with open(argv[1], "rb") as file:
            sent = pipe.send(file.read(), ttl=600, recipient=argv[2])
        digest, proof = sent if isinstance(sent, tuple) else (sent, None)
        print(json.dumps({"hash": digest, "logIndex": (proof or {}).get("leaf_index")}))
    elif argv[0] == "receive":
        try:
            data, receipt = pipe.receive(argv[1])
        except GhostPipeError as error:
            print(json.dumps({"error": str(error)}))
            return 4 if str(error).startswith("Blob not found") else 1
        with open(argv[2], "wb") as file:
            file.write(data)
        with open(argv[3], "w") as file:
            json.dump(receipt, file)
        print(json.dumps({"bytes": len(data), "receipt": receipt is not None, "check": pipe.verify_receipt(receipt)}))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


sys.exit(main(sys.argv[1:]))
