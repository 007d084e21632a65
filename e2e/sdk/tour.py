"""Every public method of paramant-sdk 3.0.0, unmodified, against one relay: called, and its answer checked.

usage: tour.py [--leave-out METHOD] [--plant CLASS.METHOD]          (settings by environment)
PARAMANT_RELAY    the relay
PARAMANT_API_KEY  a key whose account is fresh
HOME              an empty directory: the client keeps its keys in ~/.paramant
PARAMANT_HOOK     an https address that the relay's admin lists for webhooks
PARAMANT_HOOK_TOLD=1  and that it can be reached: one upload is told to it

What is public is asked of the package itself. A method counts as shown when this script called it directly and said what came of
it; one that is public and was not shown ends the tour with exit code 3 and its name. --plant gives a class a method more (found
before anything is sent), --leave-out skips the stops that show a method: both must end so, or the count is worthless.
"""
import argparse
import base64
import contextlib
import hashlib
import inspect
import io
import json
import os
import re
import subprocess
import sys
import time

import paramant.capabilities
import paramant_sdk
from paramant.errors import CapabilityMismatch, ParamantError
from paramant_sdk import FingerprintMismatchError, GhostPipe, GhostPipeCluster, GhostPipeError

RELAY = os.environ["PARAMANT_RELAY"]
KEY = os.environ["PARAMANT_API_KEY"]
HOOK = os.environ["PARAMANT_HOOK"]
# Nothing listens on the port of "discard" here.
DEAD = "http://127.0.0.1:9"
SMALL = paramant_sdk.BLOCKS["4k"]

STOPS = []


def stop(*methods):
    """A stop of the tour, and the methods it shows. It answers a phrase: what it did and saw."""

    def add(function):
        STOPS.append((methods, function))
        return function

    return add


def client(device, **more):
    return GhostPipe(KEY, device, relay=RELAY, **more)


def refused(error, call, *arguments, **named):
    try:
        answer = call(*arguments, **named)
    except error as told:
        return str(told)
    raise AssertionError(f"{call.__qualname__} was to be refused and answered {answer!r}")


@stop("GhostPipe.__init__", "paramant_sdk.get_relay_url")
def construct():
    assert client("tour").relay == RELAY
    assert GhostPipe(KEY, "tour", relay_url=RELAY).relay == RELAY
    # Its table of relays is data: with ours as the only one, looking a relay up stays on this machine.
    paramant_sdk.SECTOR_RELAYS.clear()
    paramant_sdk.SECTOR_RELAYS.update({"health": RELAY})
    assert paramant_sdk.get_relay_url("health") == RELAY
    assert GhostPipe(KEY, "tour", sector="health").relay == RELAY
    assert GhostPipe(KEY, "tour").relay == RELAY, "found by asking it for the key"
    told = refused(GhostPipeError, GhostPipe, "pgp_" + "0" * 64, "tour")
    assert "No relay reachable" in told, "a relay does not call an unknown key valid"
    refused(GhostPipeError, GhostPipe, "no key", "tour", relay=RELAY)
    refused(CapabilityMismatch, client, "tour", kem_id=3)
    assert GhostPipe(KEY, "tour", relay=DEAD, negotiate_on_init=False).relay == DEAD
    refused(ParamantError, GhostPipe, KEY, "tour", relay=DEAD)
    return "by address, sector and detection; an unknown key, an algorithm the relay lacks and a dead relay are errors"


@stop("GhostPipe.capabilities")
def capabilities():
    told = client("tour").capabilities()
    assert told.wire_version == 1, told
    return f"wire version {told.wire_version}, {told.kem_names()}, {told.sig_names()}"


@stop(
    "paramant.capabilities.fetch_capabilities",
    "paramant.capabilities.validate",
    "paramant.capabilities.negotiate",
    "paramant.capabilities.RelayCapabilities.supports_kem",
    "paramant.capabilities.RelayCapabilities.supports_sig",
    "paramant.capabilities.RelayCapabilities.kem_names",
    "paramant.capabilities.RelayCapabilities.sig_names",
)
def negotiation():
    told = paramant.capabilities.fetch_capabilities(RELAY)
    assert told.supports_kem(2) and not told.supports_kem(1), told
    assert told.supports_sig(0) and told.supports_sig(2) and not told.supports_sig(1), told
    assert told.kem_names() == ["ML-KEM-768"] and told.sig_names() == ["none", "ML-DSA-65"], told
    paramant.capabilities.validate(told, 2, 2)
    refused(CapabilityMismatch, paramant.capabilities.validate, told, 1, 2)
    assert paramant.capabilities.negotiate(RELAY, 2, 0) == told
    return "ML-KEM-768 with ML-DSA-65 or no signature, and nothing else"


@stop("GhostPipe.receive_setup")
def receive_setup():
    pipe = client("tour")
    assert pipe.receive_setup() is pipe
    pipe.receive_setup()
    client("tour").receive_setup()
    os.rename(os.path.expanduser("~/.paramant"), os.path.expanduser("~/.paramant-before"))
    told = refused(GhostPipeError, client("tour").receive_setup)
    assert "registration failed" in told, told
    subprocess.run(["rm", "-r", os.path.expanduser("~/.paramant")], check=True)
    os.rename(os.path.expanduser("~/.paramant-before"), os.path.expanduser("~/.paramant"))
    client("friend").receive_setup()
    return "three times with the same keys; other keys under the same name are refused"


@stop("GhostPipe.fingerprint")
def fingerprint():
    own = client("tour").fingerprint()
    assert re.fullmatch(r"([0-9A-F]{4}-){4}[0-9A-F]{4}", own), own
    assert client("friend").fingerprint("tour") == own
    refused(GhostPipeError, client("tour").fingerprint, "nobody")
    return f"{own}, the same to another device; unknown devices are an error"


@stop("GhostPipe.trust", "GhostPipe.untrust", "GhostPipe.known_devices")
def trust():
    pipe = client("tour")
    assert pipe.known_devices() == []
    wrong = pipe.trust("friend", "0000-0000-0000-0000-0000")
    assert wrong == "0000-0000-0000-0000-0000"
    refused(FingerprintMismatchError, pipe.send, b"not for strangers", recipient="friend", pad_block=65536)
    right = pipe.trust("friend")
    assert [(known["device_id"], known["fingerprint"]) for known in pipe.known_devices()] == [("friend", right)]
    pipe.untrust("friend")
    assert pipe.known_devices() == []
    return "a wrong fingerprint stops a send, the relay's is taken, and forgotten again"


@stop("GhostPipe.send", "GhostPipe.receive")
def send_and_receive():
    sender, receiver = client("tour"), client("friend")
    for size, block in ((0, 65536), (1024, None), (5236477, None), (10, 65536)):
        data = os.urandom(size)
        name, proof = sender.send(data, recipient="friend", pad_block=block)
        assert proof["leaf_index"] < proof["tree_size"], proof
        back, receipt = receiver.receive(name)
        assert back == data and receipt["blob_hash"] == name and receipt["burn_confirmed"] is True, receipt
        refused(GhostPipeError, receiver.receive, name)
    refused(GhostPipeError, sender.send, os.urandom(5236478), recipient="friend")
    refused(GhostPipeError, sender.send, b"x", recipient="nobody")

    name, _ = sender.send(b"twice", recipient="friend", max_views=2, ttl=60, pad_block=65536)
    assert [receiver.receive(name)[1]["burn_confirmed"] for _ in range(2)] == [False, True]

    unsigned = client("tour", sig_id=0)
    name, _ = unsigned.send(b"unsigned", recipient="friend", pad_block=SMALL)
    assert client("friend", sig_id=0).receive(name)[0] == b"unsigned"

    name, _ = sender.send(b"both know it", recipient="friend", max_views=2, pad_block=65536, pre_shared_secret="word")
    refused(Exception, receiver.receive, name, pre_shared_secret="another")
    assert receiver.receive(name, pre_shared_secret="word")[0] == b"both know it"
    return "0 to 5,236,477 bytes, once and twice, signed and not, with a shared secret; nothing after the last view"


@stop("GhostPipe.status")
def status():
    pipe = client("tour")
    name, _ = pipe.send(b"is it there?", pad_block=65536)
    there = pipe.status(name)
    assert there["available"] is True and there["bytes"] == 65536 and there["ttl_remaining_ms"] > 0, there
    pipe.receive(name)
    assert pipe.status(name) == {"available": False}
    return "size and time left before, gone after"


@stop("GhostPipe.verify_receipt")
def verify_receipt():
    pipe = client("tour")
    name, proof = pipe.send(b"with a receipt", pad_block=65536)
    _, receipt = pipe.receive(name)
    verdict = pipe.verify_receipt(receipt)
    assert verdict["valid"] is True and verdict["leaf_index"] == proof["leaf_index"], verdict
    text = base64.urlsafe_b64encode(json.dumps(receipt).encode()).rstrip(b"=").decode()
    assert pipe.verify_receipt(text)["valid"] is True
    # The exact time has 39 random digits behind the millisecond, and the leaf opens with all of them.
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{42}Z", receipt["ts"]), receipt["ts"]
    sector = hashlib.sha3_256(receipt["sector"].encode()).digest()
    opened = b"\x02" + bytes.fromhex(receipt["blob_hash"]) + sector + receipt["ts"].encode()
    assert hashlib.sha3_256(opened).hexdigest() == receipt["inclusion_proof"]["leaf_hash"], receipt
    for lie in (
        {"ts": receipt["ts"][:23] + "Z"},
        {"blob_hash": "00" * 32},
        {"burn_confirmed": False},
        {"signature": None},
    ):
        told = refused(GhostPipeError, pipe.verify_receipt, {**receipt, **lie})
        assert told.startswith("Receipt invalid"), told
    refused(GhostPipeError, pipe.verify_receipt, "no receipt")
    return "as an object and as text; altered ones are refused with a reason"


@stop("GhostPipe.drop", "GhostPipe.pickup")
def drop_and_pickup():
    phrase = client("tour").drop(b"for whoever knows the words", ttl=60, pad_block=SMALL)
    assert len(phrase.split()) == 12, phrase
    stranger = client("stranger")
    refused(GhostPipeError, stranger.pickup, " ".join(["abandon"] * 12))
    refused(GhostPipeError, stranger.pickup, " ".join(["abandon"] * 11 + ["about"]))
    assert stranger.pickup(phrase) == b"for whoever knows the words"
    refused(GhostPipeError, stranger.pickup, phrase)
    return "twelve words give it to another device, once"


@stop("GhostPipe.register_webhook")
def register_webhook():
    pipe = client("hooked")
    pipe.receive_setup()
    pipe.register_webhook(HOOK)
    # The same address again is the same hook, with this secret from now on.
    pipe.register_webhook(HOOK, secret="topsecret")
    for address in ("http://" + HOOK.removeprefix("https://"), "https://10.0.0.1/", "https://elsewhere.example/"):
        refused(GhostPipeError, pipe.register_webhook, address)
    if os.environ.get("PARAMANT_HOOK_TOLD") != "1":
        return "without a secret and then with one; plain, inner and unlisted addresses are refused"
    name, _ = pipe.send(b"told to the hook", pad_block=65536)
    pipe.receive(name)
    return f"without a secret and then with one, told of {name[:12]}…; plain, inner and unlisted addresses are refused"


class Enough(BaseException):
    """Ends `listen`, which catches every Exception and has no other end."""


@stop("GhostPipe.listen")
def listen():
    # Place that the client remembered on disk from another relay: it does not matter.
    with open(os.path.expanduser("~/.paramant/tour.sdk_seq"), "w") as file:
        file.write("4711")
    sent = [os.urandom(2000) for _ in range(3)]
    for data in sent[:2]:
        client("tour").send(data, pad_block=65536)
    heard = []

    def on_receive(data, about):
        heard.append(data)
        if len(heard) == 2:
            client("tour").send(sent[2], pad_block=65536)
        if len(heard) == 3:
            raise Enough

    with contextlib.suppress(Enough):
        client("tour").listen(on_receive, interval=1)
    assert heard == sent, [len(data) for data in heard]
    return "what waited and what came later, in order, each once"


@stop("GhostPipe.audit")
def audit():
    pipe = client("tour")
    entries = pipe.audit(limit=1000)
    assert {"inbound", "outbound_view", "outbound_burn"} <= {entry["event"] for entry in entries}, entries
    for entry in entries:
        stated = {name: value for name, value in entry.items() if name != "chain_hash"}
        text = json.dumps(stated, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha3_256(text.encode()).hexdigest() == entry["chain_hash"], entry
    assert all(new["prev_hash"] == old["chain_hash"] for new, old in zip(entries, entries[1:]))
    assert entries[-1]["prev_hash"] == "0" * 64 and len(pipe.audit(limit=2)) == 2
    return f"{len(entries)} entries, whose chain this script computed again"


@stop("GhostPipe.health")
def health():
    told = client("tour").health()
    assert told["ok"] is True and told["version"] and told["sector"], told
    return f"version {told['version']}, sector {told['sector']}"


@stop(
    "GhostPipeCluster.__init__",
    "GhostPipeCluster.health",
    "GhostPipeCluster.receive_setup",
    "GhostPipeCluster.send",
    "GhostPipeCluster.receive",
)
def cluster():
    many = GhostPipeCluster(KEY, "many", [DEAD, RELAY])
    told = many.health()
    assert told["active"] == RELAY and told["nodes"][DEAD]["ok"] is False, told
    assert many.receive_setup() is many
    name, proof = many.send(b"over whichever is up", ttl=60)
    assert proof["leaf_index"] >= 0
    assert many.receive(name)[0] == b"over whichever is up"
    refused(GhostPipeError, many.receive, name)
    return "the dead relay of two is passed over"


def command(*arguments, data=None):
    """The package's own program, as its users call it."""
    call = [sys.executable, "-m", "paramant_sdk", *arguments, "--key", KEY, "--relay", RELAY, "--device", "cli"]
    done = subprocess.run(call, input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


ACTIONS = {
    "send", "receive", "status", "listen", "health", "audit", "drop", "pickup", "verify-receipt", "capabilities",
}


@stop(*(f"command {action}" for action in sorted(ACTIONS)))
def program():
    name = re.search(rb"hash=([0-9a-f]{64})", command("send", "--pad-block", "64k", data=b"by the program"))[1].decode()
    assert json.loads(command("status", "--hash", name))["available"] is True
    assert command("receive", "--hash", name) == b"by the program"
    words = command("drop", "--pad-block", "4k", data=b"left").decode().removeprefix("Mnemonic: ").strip()
    assert command("pickup", "--mnemonic", words) == b"left"
    assert json.loads(command("health"))["ok"] is True
    assert b"outbound_burn" in command("audit")
    assert json.loads(command("capabilities"))["wire_version"] == 1
    name, _ = client("cli").send(b"receipt", pad_block=65536)
    receipt = os.path.expanduser("~/receipt.json")
    with open(receipt, "w") as file:
        json.dump(client("cli").receive(name)[1], file)
    assert json.loads(command("verify-receipt", "--file", receipt))["valid"] is True

    out = os.path.expanduser("~/heard")
    call = [sys.executable, "-m", "paramant_sdk", "listen", "--key", KEY, "--relay", RELAY, "--device", "cli", "--output", out]
    listening = subprocess.Popen(call, stdout=subprocess.DEVNULL)
    try:
        client("cli").send(b"heard", pad_block=65536)
        deadline = time.monotonic() + 60
        while not (os.path.isdir(out) and os.listdir(out)):
            assert time.monotonic() < deadline and listening.poll() is None, "the program heard nothing"
            time.sleep(0.1)
    finally:
        listening.terminate()
        listening.wait()
    # The name of the file is written before its content is: read it once the program has ended, or not at all.
    assert len(os.listdir(out)) == 1
    return f"{len(ACTIONS)} actions of paramant-sdk on the command line"


def own(module, kind):
    return [(name, one) for name, one in vars(module).items() if kind(one) and one.__module__ == module.__name__]


def public():
    """Name to code of everything public that talks to a relay, as the package defines it."""
    found = {}
    modules = (paramant_sdk, paramant.capabilities)
    for module in modules:
        for name, function in own(module, inspect.isfunction):
            if not name.startswith("_"):
                found[f"{module.__name__}.{name}"] = function.__code__
    classes = [(name, one) for name, one in own(paramant_sdk, inspect.isclass) if not issubclass(one, Exception)]
    classes.append(("paramant.capabilities.RelayCapabilities", paramant.capabilities.RelayCapabilities))
    for class_name, one in classes:
        for name, function in vars(one).items():
            function = getattr(function, "__func__", function)
            made_by_hand = inspect.isfunction(function) and function.__code__.co_filename != "<string>"
            if made_by_hand and (name == "__init__" or not name.startswith("_")):
                found[f"{class_name}.{name}"] = function.__code__
    usage = subprocess.run(
        [sys.executable, "-m", "paramant_sdk", "--help"], capture_output=True, check=True, text=True
    ).stdout
    for action in re.search(r"\{([a-z,-]+)\}", usage.replace("\n", "").replace(" ", ""))[1].split(","):
        found[f"command {action}"] = None
    return found


class Calls:
    """Which of these were called by this script itself, on this thread."""

    def __init__(self, names):
        self.names = {code: name for name, code in names.items() if code is not None}
        self.seen = set()

    def __enter__(self):
        sys.setprofile(self.note)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def note(self, frame, event, _):
        if event == "call" and frame.f_code in self.names and frame.f_back.f_code.co_filename == __file__:
            self.seen.add(self.names[frame.f_code])


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--leave-out", default="")
    arguments.add_argument("--plant", default="")
    asked = arguments.parse_args()
    if asked.plant:
        class_name, method = asked.plant.split(".")

        def planted(self):
            """A method that no stop knows."""

        setattr(getattr(paramant_sdk, class_name), method, planted)
    there = public()
    declared = {method for methods, _ in STOPS for method in methods}
    if invented := sorted(declared - set(there)):
        print(f"the tour declares what the package does not have: {', '.join(invented)}", file=sys.stderr)
        return 2
    if unknown := sorted(set(there) - declared):
        print(f"public and not shown: {', '.join(unknown)}", file=sys.stderr)
        return 3
    shown = set()
    with Calls(there) as calls:
        for methods, function in STOPS:
            if asked.leave_out in methods:
                continue
            chatter = io.StringIO()
            with contextlib.redirect_stdout(chatter):
                phrase = function()
            shown.update(methods)
            print(f"{', '.join(methods)}: {phrase}", flush=True)
    uncalled = {name for name, code in there.items() if code is not None} - calls.seen
    if missing := sorted((set(there) - shown) | uncalled):
        print(f"public and not shown: {', '.join(missing)}", file=sys.stderr)
        return 3
    print(f"all {len(there)} shown")
    return 0


if __name__ == "__main__":
    sys.exit(main())
