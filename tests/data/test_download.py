"""Downloads from a server that breaks connections, lies about lengths, sends bad archives."""

import hashlib
import io
import re
import shutil
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from utils.__main__ import main
from utils.data.download import ARCHIVES, TERMS, Archive, Mirror, download
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

CONTENT = {"text": (".txt", 2), "photos": (".jpg", 3)}
MIRROR_FOLDERS = ("", "/second", "/third")  # where the server has files for each mirror


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
            if habits.get("down") and self.path.startswith(habits["down"]):
                return self.send_error(503)
            if body is None:
                return self.send_error(404)
            first = int(re.sub(r"\D", "", wanted) or 0) if "no ranges" not in habits else 0
            if first >= len(body):
                return self.send_error(416)
            self.send_response(206 if first else 200)
            rest = body[first:]
            if "no length" not in habits:
                length = len(rest) + (999 if "lies" in habits else 0)
                self.send_header("Content-Length", str(length))
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
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def mirror(server, path, checksum=""):
    """A mirror whose file is on the server."""
    return Mirror(f"http://127.0.0.1:{server.server_port}{path}", checksum)


def fetch(server, folder, archives=None):
    """Fetch archives, by default both from one mirror; returns the files in the folder then."""
    if archives is None:
        archives = {}
        for name, (suffix, count) in CONTENT.items():
            archives[name] = Archive(suffix, count, (mirror(server, f"/{name}.zip"),))
    download(folder, archives)
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


def sha256(content):
    """The checksum of bytes, as a mirror has it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def requests_of(server, path):
    """The ranges that were requested of a file, in order."""
    return [wanted for requested, wanted in server.requests if requested == path]


@pytest.mark.parametrize("has_checksum", [False, True])
def test_complete_partial_file_is_used_and_not_downloaded_again(server, tmp_path, has_checksum):
    content = server.files["/text.zip"]
    (tmp_path / "text.zip.partial").write_bytes(content)
    checksum = sha256(content) if has_checksum else ""
    archive = Archive(".txt", 2, (mirror(server, "/text.zip", checksum),))
    assert fetch(server, tmp_path, {"text": archive}) == WHOLE[3:]
    assert requests_of(server, "/text.zip") == [f"bytes={len(content)}-", ""]


def test_page_in_place_of_the_rest_leaves_the_partial_file_alone(server, tmp_path):
    content = server.files["/text.zip"]
    (tmp_path / "text.zip.partial").write_bytes(content[:-9])
    server.files["/text.zip"] = b"<html>Log in to this network</html>"
    server.habits["no ranges"] = True
    message = r"answers with 35 bytes, but [\d,]+ are here.*run this again, it continues"
    with pytest.raises(CaptionsError, match=message):
        fetch(server, tmp_path)
    assert (tmp_path / "text.zip.partial").read_bytes() == content[:-9]


def test_empty_folder_is_no_download(server, tmp_path):
    (tmp_path / "photos").mkdir()
    assert fetch(server, tmp_path) == WHOLE


def test_partial_file_of_another_size_is_refused_in_a_line(server, tmp_path, capsys):
    (tmp_path / "text.zip.partial").write_bytes(bytes(99_999))
    assert fetch(server, tmp_path) == WHOLE
    length = len(server.files["/text.zip"])
    line = f"text.zip.partial: has 99,999 bytes, but {server.address}/text.zip has {length}: "
    assert line in capsys.readouterr().out


def test_complete_partial_file_with_other_bytes_is_refused(server, tmp_path, capsys):
    content = server.files["/text.zip"]
    (tmp_path / "text.zip.partial").write_bytes(bytes(len(content)))
    archives = {"text": Archive(".txt", 2, (mirror(server, "/text.zip", sha256(content)),))}
    with pytest.raises(CaptionsError, match=r"/text.zip: its checksum is not sha256:\w+, deleted"):
        fetch(server, tmp_path, archives)
    assert list(tmp_path.iterdir()) == []
    assert fetch(server, tmp_path, archives) == WHOLE[3:]


def three_mirrors(server):
    """An archive that the server has at three places, packed in another way at each."""
    mirrors = []
    for number, folder in enumerate(MIRROR_FOLDERS):
        content = archive("a.txt", "b.txt", size=5120 + 256 * number)
        server.files[f"{folder}/text.zip"] = content
        mirrors.append(mirror(server, f"{folder}/text.zip", sha256(content)))
    return {"text": Archive(".txt", 2, tuple(mirrors))}


def test_first_mirror_that_answers_is_used(server, tmp_path):
    archives = three_mirrors(server)
    assert fetch(server, tmp_path / "all", archives) == WHOLE[3:]
    assert requests_of(server, "/second/text.zip") == []
    del server.files["/text.zip"]
    assert fetch(server, tmp_path / "two", archives) == WHOLE[3:]
    assert requests_of(server, "/second/text.zip") == [""]
    assert requests_of(server, "/third/text.zip") == []


@pytest.mark.parametrize("content", [b"not a zip", archive("a.txt"), b""], ids=["no", "few", "0"])
@pytest.mark.parametrize("has_checksum", [False, True])
def test_mirror_that_sends_something_else_is_passed_over(server, tmp_path, content, has_checksum):
    archives = three_mirrors(server)
    if not has_checksum:
        mirrors = [Mirror(mirror.url) for mirror in archives["text"].mirrors]
        archives = {"text": Archive(".txt", 2, tuple(mirrors))}
    server.files["/text.zip"] = content
    assert fetch(server, tmp_path, archives) == WHOLE[3:]


def test_error_names_every_mirror_with_its_problem(server, tmp_path):
    archives = three_mirrors(server)
    del server.files["/text.zip"]
    server.files["/second/text.zip"] = b"another file"
    server.habits["down"] = "/third"
    with pytest.raises(CaptionsError) as error:
        fetch(server, tmp_path, archives)
    message = str(error.value)
    assert "\n" not in message
    assert f"{server.address}/text.zip: HTTP Error 404" in message
    assert f"{server.address}/second/text.zip: its checksum is not sha256:" in message
    assert f"{server.address}/third/text.zip: HTTP Error 503" in message
    assert message.endswith(": run this again")  # nothing is left to continue from


def test_interrupted_download_continues_at_its_own_mirror(server, tmp_path):
    archives = three_mirrors(server)
    first = server.files.pop("/text.zip")
    content = server.files["/second/text.zip"]
    server.files.pop("/third/text.zip")
    server.habits["cuts"] = 9
    with pytest.raises(CaptionsError):
        fetch(server, tmp_path, archives)
    done = (tmp_path / "text-1.zip.partial").stat().st_size
    assert 0 < done < len(content)
    server.habits["cuts"] = 0
    server.requests.clear()
    server.files["/text.zip"] = first  # it is back, but most is here of the second mirror's file
    (tmp_path / "text.zip.partial").write_bytes(first[:9])
    assert fetch(server, tmp_path, archives) == WHOLE[3:]
    assert server.requests == [("/second/text.zip", f"bytes={done}-")]


def test_downloaded_archive_is_unpacked_although_its_mirror_is_down(server, tmp_path, monkeypatch):
    archives = three_mirrors(server)
    del server.files["/text.zip"]

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", full)
        with pytest.raises(CaptionsError, match=r"text-1.zip: could not be unpacked"):
            fetch(server, tmp_path, archives)
    server.files.clear()
    assert fetch(server, tmp_path, archives) == WHOLE[3:]


def test_files_of_an_archive_must_have_their_checksums(server, tmp_path):
    text = bytes(range(256)) * 20
    known = {"a.txt": hashlib.sha256(text).hexdigest()}
    server.files["/text.zip"] = archive("x/a.txt", "x/b.txt", size=5120)
    archives = {"text": Archive(".txt", 2, (mirror(server, "/text.zip"),), checksums=known)}
    assert fetch(server, tmp_path / "right", archives) == ["text/x/a.txt", "text/x/b.txt"]
    server.files["/text.zip"] = archive("x/a.txt", "x/b.txt", size=2560)
    with pytest.raises(CaptionsError, match=r"text.zip: damaged \(its a.txt has another checksum"):
        fetch(server, tmp_path / "other", archives)
    server.files["/text.zip"] = archive("x/b.txt", "x/c.txt")
    with pytest.raises(CaptionsError, match=r"text.zip: damaged \(it lacks a.txt"):
        fetch(server, tmp_path / "without", archives)


def test_photos_without_a_checksum_must_be_those_of_the_lists(server, tmp_path, capsys):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "trainImages.txt").write_text("1.jpg\n2.jpg\n")
    photos = Archive(".jpg", 2, (mirror(server, "/photos.zip"),), lists="text")
    server.files["/photos.zip"] = archive("1.jpg", "3.jpg")
    with pytest.raises(CaptionsError, match=r"photos.zip: damaged \(it lacks 2.jpg\), deleted"):
        fetch(server, tmp_path, {"photos": photos})
    server.files["/photos.zip"] = archive("Images/1.jpg", "Images/2.jpg")
    assert "photos/Images/2.jpg" in fetch(server, tmp_path, {"photos": photos})
    assert "/photos.zip: its checksum is not known" in capsys.readouterr().out


def test_server_that_does_not_tell_a_length_is_read_to_the_end(server, tmp_path):
    server.habits["no length"] = True
    assert fetch(server, tmp_path) == WHOLE


def test_file_that_cannot_be_written_is_not_the_mirrors_fault(server, tmp_path):
    archives = three_mirrors(server)
    (tmp_path / "text.zip.partial").mkdir()  # it cannot be opened for writing
    with pytest.raises(CaptionsError, match=r"text.zip.partial: could not be written"):
        fetch(server, tmp_path, archives)
    assert requests_of(server, "/second/text.zip") == []


def test_real_archives_have_mirrors_on_several_hosts_and_checksums():
    for known in ARCHIVES.values():
        assert len(known.mirrors) >= 2
        assert len({mirror.url.split("/")[2] for mirror in known.mirrors}) >= 2
        assert known.mirrors[0].checksum
        for mirror in known.mirrors:
            assert mirror.url.startswith("https://")
            assert re.fullmatch(r"|md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", mirror.checksum)
    for checksum in ARCHIVES["Flickr8k_text"].checksums.values():
        assert re.fullmatch(r"[0-9a-f]{64}", checksum)


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
