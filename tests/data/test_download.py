"""Downloads from a server that breaks connections, lies about lengths, sends bad archives."""

import io
import re
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from utils.__main__ import main
from utils.data.download import ARCHIVES, TERMS, download
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

CONTENT = {"text": (".txt", 2), "photos": (".jpg", 3)}


def archive(*names, size=5000):
    """A zip of files of those names, none of which compresses."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in names:
            made.writestr(name, bytes(range(256)) * (size // 256))
    return file.getvalue()


@pytest.fixture
def server():
    """A server of `files`; `habits` says how it misbehaves, `requests` lists what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range", "")
            self.server.requests.append((self.path, wanted))
            body, habits = self.server.files.get(self.path), self.server.habits
            if body is None:
                return self.send_error(404)
            first = int(re.sub(r"\D", "", wanted) or 0) if "no ranges" not in habits else 0
            if first >= len(body):
                return self.send_error(416)
            self.send_response(206 if first else 200)
            rest = body[first:]
            self.send_header("Content-Length", str(len(rest) + (999 if "lies" in habits else 0)))
            self.end_headers()
            self.wfile.write(rest[: len(rest) // 2] if habits.get("cuts", 0) > 0 else rest)
            habits["cuts"] = habits.get("cuts", 0) - 1

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files = {
            "/text.zip": archive("a.txt", "b.txt", "__MACOSX/._a.txt", "more.exe"),
            "/photos.zip": archive(*(f"Photos/{number} é.jpg" for number in range(3))),
        }
        server.habits, server.requests = {}, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def fetch(server, folder):
    """Fetch both archives; returns the files that the folder then holds."""
    download(folder, CONTENT, f"http://127.0.0.1:{server.server_port}")
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


WHOLE = [f"photos/Photos/{number} é.jpg" for number in range(3)] + ["text/a.txt", "text/b.txt"]


def test_archives_are_downloaded_and_unpacked_once(server, tmp_path, capsys):
    assert fetch(server, tmp_path / "data") == WHOLE
    assert TERMS in capsys.readouterr().out and "research" in TERMS
    assert fetch(server, tmp_path / "data") == WHOLE and len(server.requests) == 2


def test_broken_connection_is_resumed_where_it_broke(server, tmp_path):
    server.habits["cuts"] = 2
    assert fetch(server, tmp_path) == WHOLE
    length = len(server.files["/text.zip"])
    cut = [length // 2, length // 2 + (length - length // 2) // 2]
    assert server.requests[:3] == [("/text.zip", "")] + [
        ("/text.zip", f"bytes={at}-") for at in cut
    ]


def test_next_call_resumes_after_too_many_breaks(server, tmp_path):
    server.habits["cuts"] = 3
    with pytest.raises(CaptionsError, match=r"text.zip: .*run this again, it continues"):
        fetch(server, tmp_path)
    assert fetch(server, tmp_path) == WHOLE and "bytes=" in server.requests[3][1]


def test_server_without_ranges_sends_the_whole_file(server, tmp_path):
    server.habits |= {"cuts": 1, "no ranges": True}
    assert fetch(server, tmp_path) == WHOLE


def test_partial_file_of_something_longer_is_discarded(server, tmp_path):
    (tmp_path / "text.zip.partial").write_bytes(bytes(99_999))
    assert fetch(server, tmp_path) == WHOLE


def test_wrong_content_length_is_an_error(server, tmp_path):
    server.habits["lies"] = True
    with pytest.raises(CaptionsError, match=r"text.zip"):
        fetch(server, tmp_path)
    assert not (tmp_path / "text").exists()


def test_full_disk_while_unpacking_keeps_the_archive(server, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", full)
        with pytest.raises(CaptionsError, match=r"text.zip: could not be unpacked \(.*No space"):
            fetch(server, tmp_path)
    assert (tmp_path / "text.zip").is_file()
    assert fetch(server, tmp_path) == WHOLE
    assert [name for name, _ in server.requests].count("/text.zip") == 1, "it was downloaded again"


def test_missing_file_is_an_error(server, tmp_path):
    server.files.clear()
    with pytest.raises(CaptionsError, match=r"text.zip: .*404"):
        fetch(server, tmp_path)


@pytest.mark.parametrize(
    "name",
    ["../../evil.txt", "/tmp/evil.txt", "..\\..\\evil.txt", "C:\\evil.txt", "a/../../evil.txt"],
)
def test_paths_in_an_archive_cannot_leave_the_folder(server, tmp_path, name):
    server.files["/text.zip"] = archive(name, "b.txt")
    fetch(server, tmp_path / "deep" / "data")
    files = [path for path in tmp_path.rglob("*evil.txt")]
    assert all(path.is_relative_to(tmp_path / "deep" / "data" / "text") for path in files) and files


def test_link_in_an_archive_is_not_extracted_as_a_link(server, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        made.writestr(link, "/etc/passwd")
        made.writestr("b.txt", "b")
    server.files["/text.zip"] = file.getvalue()
    fetch(server, tmp_path)
    assert not (tmp_path / "text" / "link.txt").is_symlink()


def flip_byte(content):
    """The same bytes with one in the middle of the first file changed."""
    return content[:2000] + bytes([content[2000] ^ 1]) + content[2001:]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not a zip", "not a zip"),
        (archive("a.txt"), "it holds 1 .txt files, not 2"),
        (flip_byte(archive("a.txt", "b.txt")), "CRC"),
        (archive("a.txt", "b.txt")[:-30], "zip"),
    ],
    ids=[
        "no zip",
        "too few",
        "flipped byte",
        "cut",
    ],  # else an archive's time is in the test's name
)
def test_damaged_archive_leaves_no_files(server, tmp_path, content, reason):
    good = server.files["/text.zip"]
    server.files["/text.zip"] = content
    with pytest.raises(CaptionsError, match=reason):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.files["/text.zip"] = good
    assert fetch(server, tmp_path) == WHOLE


def test_zip_bomb_is_not_unpacked(server, tmp_path):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in ("a.txt", "b.txt"):
            made.writestr(name, "x")
        made.infolist()[0].file_size = 10**12  # as its directory will say
    server.files["/text.zip"] = file.getvalue()
    with pytest.raises(CaptionsError, match="damaged"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_noticed_before_the_first_byte(server, tmp_path, monkeypatch):
    room = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: room)
    with pytest.raises(CaptionsError, match="MB needed"):
        fetch(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_download_command_calls_download(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr("utils.data.download.download", lambda folder: called.append(folder))
    assert main(["data", str(tmp_path)]) == 0 and main(["data"]) == 0
    assert called == [tmp_path, REPOSITORY / "data"]
    assert set(ARCHIVES) == {"Flickr8k_text", "Flickr8k_Dataset"}
