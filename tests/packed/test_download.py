from __future__ import annotations

import hashlib
import socket

import pytest

from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.packed.download import check_sha256, fetch

BODY = bytes(range(256)) * 1000


def anything(_):
    pass


def kept(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_fetched_once_and_kept_under_its_name(server, own_cache):
    url = server.serve("/releases/x4.pth", BODY)
    path = fetch(url, anything)
    assert path.read_bytes() == BODY
    assert path.parent == own_cache / "weights" and path.name.endswith("-x4.pth")
    assert fetch(url, anything) == path
    assert server.asked == ["/releases/x4.pth"]


def test_files_of_the_same_name_from_two_places_are_told_apart(server):
    one, other = server.serve("/a/model.pth", b"one"), server.serve("/b/model.pth?download=1", b"other")
    assert fetch(one, anything).read_bytes() == b"one"
    assert fetch(other, anything).read_bytes() == b"other"


def test_a_hostile_address_stays_in_the_cache(server, own_cache):
    path = fetch(server.serve("/..%2f..%2f" + "x" * 300 + "%00", BODY), anything)
    assert path.parent == own_cache / "weights"


def test_the_length_need_not_be_announced(server):
    assert fetch(server.serve("/x", BODY, announced=None), anything).read_bytes() == BODY


def test_the_right_checksum_is_accepted_in_either_case(server):
    digest = hashlib.sha256(BODY).hexdigest()
    assert fetch(server.serve("/x", BODY), anything, sha256=digest.upper()).read_bytes() == BODY


def test_a_kept_file_that_was_changed_is_fetched_anew(server):
    url, digest = server.serve("/x", BODY), hashlib.sha256(BODY).hexdigest()
    path = fetch(url, anything)
    path.write_bytes(b"changed")
    assert fetch(url, anything, sha256=digest).read_bytes() == BODY


@pytest.mark.parametrize(
    ("body", "how", "arguments", "message"),
    [
        (b"gone", {"status": 404}, {}, "answers 404 Not Found; check the URL"),
        (b"oops", {"status": 503}, {}, "answers 503"),
        (BODY, {"announced": len(BODY) + 5}, {}, "broke off after 256,000 of 256,005 bytes"),
        (BODY, {}, {"sha256": "0" * 64}, "has the sha256 .*; allowed: 0000"),
        (b"", {"silent": True}, {"timeout": 0.2}, "timed out|broke off|cannot download"),
    ],
    ids=["missing", "ill", "half", "another", "silent"],
)
def test_what_is_not_the_file_is_one_line_and_is_not_kept(server, own_cache, body, how, arguments, message):
    with pytest.raises(CompSRTError, match=message):
        fetch(server.serve("/x.pth", body, **how), anything, **arguments)
    assert kept(own_cache) == []


@pytest.mark.parametrize("body", [b"<html>please log in</html>", b""], ids=["page", "nothing"])
def test_the_beginning_is_judged_before_the_rest_is_fetched(server, own_cache, body):
    def refuse(head):
        assert head == body
        raise CompSRTError("not this one")

    with pytest.raises(CompSRTError, match="not this one"):
        fetch(server.serve("/x", body), refuse)
    assert kept(own_cache) == []


def test_no_server_no_host_no_address_are_one_line_each():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/x", "http://127.0.0.1:notaport/x", "http://", "http://a b/x"):
        with pytest.raises(CompSRTError, match=r"cannot download .*; check the URL and the connection"):
            fetch(url, anything, timeout=2)


def test_a_cache_that_cannot_be_written_names_the_variable(server, tmp_path):
    (tmp_path / "cache").write_bytes(b"")
    with pytest.raises(CompSRTError, match=r"cannot write .*; .*COMPSRT_CACHE"):
        fetch(server.serve("/x", BODY), anything, cache_dir=tmp_path / "cache")


def test_an_impossible_checksum_is_told_from_a_wrong_one():
    with pytest.raises(CompSRTError, match="allowed: 64 hexadecimal digits"):
        check_sha256("file", "0" * 64, "abc")
