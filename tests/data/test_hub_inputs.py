"""Inputs on a hub (`hf://`), against a server on loopback that answers as the Hub's interface does: read, and no more.

In a process of its own, for the library reads the hub's address and whether it is offline when it is imported.
"""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from captioners.data.webdataset_source import WebdatasetOptions
from tests.jobs.shards import write_shards

ROOT = Path(__file__).parents[2]
REPO = "me/photos"

READ = """
import json, sys
from hashlib import sha256
from captioners.core import failures
from captioners.core.errors import CaptionersError
from captioners.data.webdataset_source import WebdatasetOptions
failures.FIRST_PAUSE_S, failures.ATTEMPTS = 0.01, 2
source = WebdatasetOptions(inputs=sys.argv[1:]).open()
try:
    shards = source.shards()
    rows = [[r.key, r.index, r.offset, sha256(r.image).hexdigest()] for shard in shards for r in source.samples(shard)]
    print(json.dumps({"shards": [[s.path, s.size, s.stamp] for s in shards], "rows": rows}))
except CaptionersError as error:
    print(json.dumps({"error": str(error), "code": error.exit_code}))
"""


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{path} {self.headers.get('Range') or ''}".strip())
        if path.startswith(f"/api/datasets/{REPO}/revision/") or path == f"/api/datasets/{REPO}":
            self.answer({"id": REPO, "sha": "1" * 40, "siblings": [], "tags": [], "private": False})
        elif path.startswith(f"/api/datasets/{REPO}/tree/"):
            within = path.partition("/tree/")[2].partition("/")[2]
            top = {"type": "directory", "path": "data", "size": 0, "oid": "2" * 40}
            self.answer([self.about(file) for file in sorted(self.server.folder.iterdir())] if within else [top])
        elif path.startswith(f"/datasets/{REPO}/resolve/") and not self.server.broken:
            data = (self.server.folder / path.rpartition("/")[2]).read_bytes()
            start, _, end = self.headers["Range"].removeprefix("bytes=").partition("-")
            self.answer(data[int(start) : int(end) + 1], 206)
        else:
            self.answer({"error": "no"}, self.server.broken or 404)

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
        files = [self.server.folder / Path(name).name for name in asked]
        self.answer([self.about(file) for file in files if file.exists()])

    def about(self, file):
        data = file.read_bytes()
        return {"type": "file", "path": f"data/{file.name}", "size": len(data), "oid": sha1(data).hexdigest()}

    def answer(self, content, status=200):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@contextmanager
def hub(folder, broken=0):
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        server.daemon_threads = True
        server.folder, server.broken, server.asked = folder, broken, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def read(server, *inputs):
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_TOKEN": "",
    }
    command = [sys.executable, "-c", READ, *inputs]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_shards_on_a_hub_give_what_local_ones_give(tmp_path):
    from hashlib import sha256

    folder = write_shards(tmp_path / "data", shards=2, samples=3)
    here = WebdatasetOptions(inputs=[str(folder)]).open()
    rows = [
        [r.key, r.index, r.offset, sha256(r.image).hexdigest()] for shard in here.shards() for r in here.samples(shard)
    ]
    with hub(folder) as server:
        found = read(server, f"hf://datasets/{REPO}/data")
    assert found.get("rows") == rows, found
    assert [shard[:2] for shard in found["shards"]] == [[s.path, s.size] for s in here.shards()]
    assert all(len(stamp) == 40 for *_, stamp in found["shards"]), "what git calls the file"
    assert any("resolve" in asked and "bytes=0-" in asked for asked in server.asked)


def test_a_hub_that_fails_is_infrastructure(tmp_path):
    folder = write_shards(tmp_path / "data", shards=1, samples=1)
    with hub(folder, broken=403) as server:
        found = read(server, f"hf://datasets/{REPO}/data/{{00000..00000}}.tar")
    assert found.get("code") == 75 and "access was refused" in found["error"], found
