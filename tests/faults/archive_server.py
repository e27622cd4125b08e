"""A server of two small archives, and their download: all that `download` needs, and no more."""

import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from utils.data.download import Archive, Mirror, download

# name of the archive -> its files, and the suffix that `download` expects of them
ARCHIVES = {
    "text": (("a.txt", "b.txt"), ".txt"),
    "photos": (("1.jpg", "2.jpg", "3.jpg"), ".jpg"),
}


class SilentHandler(SimpleHTTPRequestHandler):
    """Serves files without logging each request."""

    def log_message(self, *args) -> None:
        """Log nothing."""


def make_archives(folder: Path) -> None:
    """Write the archives that the server offers."""
    (folder / "served").mkdir()
    for name, (files, _) in ARCHIVES.items():
        with zipfile.ZipFile(folder / "served" / f"{name}.zip", "w") as archive:
            for file in files:
                archive.writestr(zipfile.ZipInfo(file), bytes(3000))


def download_archives(folder: Path) -> None:
    """The command `download`, from a server on this machine."""
    handler = partial(SilentHandler, directory=folder / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            archives = {}
            for name, (files, suffix) in ARCHIVES.items():
                mirror = Mirror(f"http://127.0.0.1:{server.server_port}/{name}.zip")
                archives[name] = Archive(suffix, len(files), (mirror,))
            download(folder / "data", archives)
        finally:
            server.shutdown()
