"""What stands behind the image `web` in the tests: answers GET /env/NAME with that variable, /client with the client's address, anything
else with ok, or with 503 between /break and /mend."""
import http.server
import os

broken = False


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/env/")
        body = os.environ.get(name, "-") if name != self.path else "ok"
        if self.path == "/crash":
            os._exit(3)
        global broken
        if self.path == "/client":
            body = self.client_address[0]
        if self.path in ("/break", "/mend"):
            broken = self.path == "/break"
        self.send_response(503 if broken and self.path != "/break" else 200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


host, port = os.environ["LISTEN"].split(":")
print("listening on", host, flush=True)
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
