"""What stands behind the image `web` in the tests: answers GET /env/NAME with that variable, anything else with ok."""
import http.server
import os


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/env/")
        body = os.environ.get(name, "-") if name != self.path else "ok"
        if self.path == "/crash":
            os._exit(3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *arguments):
        pass


host, port = os.environ["LISTEN"].split(":")
print("listening on", host, flush=True)
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
