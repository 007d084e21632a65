"""Somebody's server that is told of uploads, and the forward proxy in front of it; neither knows more of a relay than the documentation.

Prints a JSON line for each call and for each CONNECT that is refused; the first line names the proxy's port. Ends when its input does.
"""

import argparse
import hashlib
import hmac
import json
import os
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--proxy-address", required=True)
arguments.add_argument("--host", required=True)
arguments.add_argument("--secret", required=True)
arguments.add_argument("--certificate", required=True)
arguments.add_argument("--key", required=True)
wanted = arguments.parse_args()


def say(**line):
    print(json.dumps(line), flush=True)


def is_from_my_relay(secret: str, body: bytes, signature: str) -> bool:
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature)


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def log_message(self, *_):
        pass


class Receiver(Quiet):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = is_from_my_relay(wanted.secret, body, self.headers["X-Paramant-Sig"])
        say(
            path=self.path,
            signed=signed,
            event=self.headers["X-Paramant-Event"],
            delivery=self.headers["X-Paramant-Delivery"],
            told=json.loads(body),
        )
        self.send_response(204)
        self.end_headers()


class Proxy(Quiet):
    def do_CONNECT(self):
        self.close_connection = True
        if self.path != f"{wanted.host}:443":
            say(refused=self.path)
            self.send_error(403)
            return
        with socket.create_connection(receiver.server_address) as behind:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=pump, args=(behind, self.connection))
            back.start()
            pump(self.connection, behind)
            back.join()


def pump(source, target):
    try:
        while piece := source.recv(65536):
            target.sendall(piece)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(server):
    threading.Thread(target=server.serve_forever, daemon=True).start()


receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(wanted.certificate, wanted.key)
receiver.socket = context.wrap_socket(receiver.socket, server_side=True, do_handshake_on_connect=False)
serve(receiver)
proxy = ThreadingHTTPServer((wanted.proxy_address, 0), Proxy)
serve(proxy)
say(proxy=proxy.server_address[1])
sys.stdin.read()
os._exit(0)
