"""A server of two small archives, and the download of them: all that `data` needs, and no more."""

import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from utils.data.download import download


def offer(folder):
    """Make the archives that are to be fetched."""
    (folder / "served").mkdir()
    for name, files in {"text": ("a.txt", "b.txt"), "photos": ("1.jpg", "2.jpg", "3.jpg")}.items():
        with zipfile.ZipFile(folder / "served" / f"{name}.zip", "w") as archive:
            for file in files:
                archive.writestr(zipfile.ZipInfo(file), bytes(3000))


def data(folder):
    """`data`: two archives from a server, unpacked."""
    served = folder / "served"
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=served)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            content = {"text": (".txt", 2), "photos": (".jpg", 3)}
            download(folder / "data", content, f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
