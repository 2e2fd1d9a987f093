"""A real S3 server on loopback (moto) behind a small proxy that can refuse, throttle, expire, cut and kill."""

import http.client
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY, SECRET = "AKIAFIRSTFIRSTFIRST1", "secret/of+the/first/key/0123456789abcdef"
NEW_KEY, NEW_SECRET = "AKIASECONDSECONDSEC2", "secret/of+the/second/key/0123456789abcde"

_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}, said the proxy</Message>'
    "<RequestId>1</RequestId></Error>"
)


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    """With its query."""
    key: str
    """The access key that it is signed by."""
    headers: dict

    @property
    def object(self):
        return self.path.partition("?")[0]


@dataclass(frozen=True)
class Refuse:
    """Answer with an error, instead of asking the server."""

    status: int
    code: str


@dataclass(frozen=True)
class Cut:
    """Hand on the answer's headers and so many bytes of its body, then hang up."""

    size: int


@dataclass(frozen=True)
class Lose:
    """Let the server do it, then hang up without an answer."""


@dataclass
class Proxy:
    """Between clients and the server; `rule` is asked about each request: None lets it pass."""

    port: int
    rule: object = lambda asked: None
    log: list = field(default_factory=list)
    """(Asked, what was done with it)."""

    def asked(self, method, name):
        """Return the requests of a method whose path has `name` in it."""
        return [asked for asked, _ in self.log if asked.method == method and name in asked.path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass(self):
        proxy, body = self.server.proxy, self._body()
        signed = self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        asked = Asked(self.command, self.path, signed, dict(self.headers))
        done = proxy.rule(asked)
        proxy.log.append((asked, done))
        if isinstance(done, Refuse):
            self._answer(done.status, {"Content-Type": "application/xml"}, _ERROR.format(code=done.code).encode())
            return
        server = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("expect", "connection")}
            server.request(self.command, self.path, body, headers)
            answer = server.getresponse()
            data = answer.read()
        finally:
            server.close()
        if isinstance(done, Lose):
            self.close_connection = True
            return
        cut = done.size if isinstance(done, Cut) else None
        self._answer(answer.status, dict(answer.getheaders()), data, cut)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def _answer(self, status, headers, data, cut=None):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = headers.get("Content-Length", len(data)) if self.command == "HEAD" else len(data)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data if cut is None else data[:cut])
        self.close_connection = self.close_connection or cut is not None

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    """A server with a proxy before it: yields the proxy and its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # not a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    front = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    front.daemon_threads = True
    front.proxy = proxy = Proxy(port)
    thread = threading.Thread(target=front.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy, f"http://127.0.0.1:{front.server_address[1]}"
    finally:
        front.shutdown()
        front.server_close()
        server.stop()


@dataclass
class S3:
    """A bucket of its own for a test, and the server as an outsider sees it (boto3, past the proxy)."""

    bucket: str
    proxy: Proxy
    client: object

    @property
    def url(self):
        return f"s3://{self.bucket}"

    def put(self, key, data):
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def get(self, key):
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self, under=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=under)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def upload(self, folder, under):
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                self.put(f"{under}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def unfinished(self):
        """Return the uploads in parts that nobody completed or gave up."""
        return self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])


def bucket(name, proxy):
    """Make a bucket."""
    import boto3

    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{proxy.port}", region_name="us-east-1",
        aws_access_key_id="outsider", aws_secret_access_key="outsider",
    )  # fmt: skip
    client.create_bucket(Bucket=name)
    return S3(name, proxy, client)


def environment(endpoint, folder):
    """The usual environment of S3 clients, with the credentials in a file that a test may write anew."""
    file = Path(folder) / "credentials"
    credentials(file, KEY, SECRET)
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_SHARED_CREDENTIALS_FILE": str(file),
        "AWS_CONFIG_FILE": str(Path(folder) / "none"),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def credentials(file, key, secret):
    """Write a credentials file."""
    Path(file).write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
