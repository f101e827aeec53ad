"""A small hub on loopback: what huggingface_hub asks for when models are pushed and fetched, and no more."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(ThreadingHTTPServer):
    """Models by name; of each the commits in their order, a commit being its files."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.models, self.asked, self.allowed = {}, [], True

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, name, files):
        """Add a commit; its id."""
        commits = self.models.setdefault(name, {})
        oid = hashlib.sha1(f"{name} {len(commits)}".encode()).hexdigest()
        commits[oid] = files
        return oid

    def newest(self, name):
        return list(self.models[name])[-1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._get()

    def do_GET(self):
        self._get()

    def _get(self):
        self.server.asked.append((self.command, self.path))
        path = self.path.split("?")[0]
        name, revision, file = self._parts(path)
        commits = self.server.models.get(name)
        if commits is None:
            return self._fail(404, "RepoNotFound")
        oid = self.server.newest(name) if revision in (None, "main") and commits else revision
        files = {} if not commits and revision in (None, "main") else commits.get(oid)
        if files is None:
            return self._fail(404, "RevisionNotFound")
        if file is not None:
            if file not in files:
                return self._fail(404, "EntryNotFound")
            etag = hashlib.sha1(files[file]).hexdigest()
            return self._send(files[file], {"X-Repo-Commit": oid, "ETag": f'"{etag}"'})
        entries = [
            {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for path, data in files.items()
        ]
        if "/tree/" in path:
            return self._json(entries)
        siblings = [{"rfilename": entry["path"]} for entry in entries]
        return self._json({"id": name, "modelId": name, "sha": oid, "siblings": siblings, "tags": [], "private": False})

    def do_POST(self):
        self.server.asked.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.server.allowed:
            return self._fail(403, None)
        if self.path == "/api/repos/create":
            given = json.loads(body)
            name = "/".join(filter(None, [given.get("organization") or "user", given["name"]]))
            if name in self.server.models:
                return self._json({"error": "exists", "url": f"{self.server.url}/{name}"}, 409)
            self.server.models[name] = {}
            return self._json({"url": f"{self.server.url}/{name}", "name": name, "id": name})
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        name = self._parts(self.path)[0]
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            return self._json(
                {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        commits = self.server.models[name]
        files = dict(commits[self.server.newest(name)]) if commits else {}
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        oid = self.server.commit(name, files)
        return self._json({"commitUrl": f"{self.server.url}/{name}/commit/{oid}", "commitOid": oid, "success": True})

    def _parts(self, path):
        """Model, revision and file of a path."""
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return found.groups()
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(?:revision|tree|preupload|commit)/([^/]+).*)?", path)
        return (*found.groups(), None) if found else (None, None, None)

    def _json(self, content, status=200):
        self._send(json.dumps(content).encode(), {"Content-Type": "application/json"}, status)

    def _fail(self, status, code):
        self._send(b"{}", {"X-Error-Code": code} if code else {}, status)

    def _send(self, data, headers, status=200):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serving():
    """A hub that answers until the end of the block."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
