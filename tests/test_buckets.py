"""Objects of a bucket: what their addresses mean, that they appear whole, and what is said where a bucket is closed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from s3_server import Bucket

from compsrt_plugin import buckets
from compsrt_plugin.buckets import BucketPath, address_of, place_of
from compsrt_plugin.errors import CompSRTError
from compsrt_plugin.files import UnwritableError

PART = 10 << 20  # bytes that pyarrow sends at a time, and a little less than these


def at(bucket: Bucket, key: str = "") -> BucketPath:
    place = place_of(f"s3://{bucket.name}/{key}")
    assert isinstance(place, BucketPath)
    return place


@pytest.mark.parametrize("key", ["a.png", "deep/er/ä €.png", "per%20cent.png", "img_[1]?.png"])
def test_an_object_is_put_and_read_under_its_own_name(bucket: Bucket, key: str):
    at(bucket, key).write_bytes(b"content")
    assert bucket.contents() == {key: b"content"} and at(bucket, key).read_bytes() == b"content"
    assert at(bucket, key).stat().st_size == 7 and at(bucket, key).is_file() and not at(bucket, key).is_dir()
    (listed,) = at(bucket).below(deep=True)
    assert listed == at(bucket, key) and listed.stat() == at(bucket, key).stat()
    assert place_of(address_of(listed)) == listed


def test_the_address_may_name_the_server(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    query = f"?endpoint_override={bucket.server.endpoint}&scheme=http"
    place = place_of(f"s3://{bucket.name}/prefix{query}")
    (place / "a.png").write_bytes(b"1")
    assert bucket.contents() == {"prefix/a.png": b"1"}
    assert address_of(place / "a.png") == f"s3://{bucket.name}/prefix/a.png{query}"
    assert str(place / "a.png") == f"s3://{bucket.name}/prefix/a.png"


def test_a_path_of_a_file_stays_one():
    assert place_of("s3:/a") == Path("s3:/a") and place_of("~/a") == Path.home() / "a"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("gs://bucket/a", "gs://bucket/a is no address of a bucket; allowed: paths, and s3://BUCKET/PREFIX"),
        ("https://host/a.png", "https://host/a.png is no address of a bucket"),
        ("s3://", "s3:// is no address of a bucket"),
        ("s3://name:pass@bucket/a", "holds credentials; allowed: s3://BUCKET/PREFIX, with"),
        ("s3://bucket/a?endpoint=b", "cannot use s3://bucket: Unexpected query parameter in S3 URI: 'endpoint'"),
    ],
)
def test_an_address_that_is_none_is_refused(bucket: Bucket, address: str, says: str):
    with pytest.raises(CompSRTError) as raised:
        place_of(address)
    assert says in str(raised.value) and "pass" not in str(raised.value)


def test_without_pyarrow_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    buckets._opened.cache_clear()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CompSRTError, match="buckets need pyarrow; install it: pip install 'compsrt_plugin"):
        place_of("s3://bucket/a")


def test_what_is_not_there_is_said(bucket: Bucket):
    for ask in (at(bucket, "none.png").stat, at(bucket, "none.png").read_bytes):
        with pytest.raises(CompSRTError, match=f"there is no object s3://{bucket.name}/none.png"):
            ask()
    assert list(at(bucket, "none").below()) == []
    nowhere = place_of("s3://no-such-bucket/a.png")
    assert isinstance(nowhere, BucketPath)
    with pytest.raises(CompSRTError, match="there is no bucket s3://no-such-bucket; check the name, the region"):
        list(nowhere.below())
    with pytest.raises(UnwritableError, match="there is no such bucket; check the name"):
        nowhere.write_bytes(b"1")


def test_a_closed_bucket_is_told_with_what_opens_it(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    from moto import settings
    from moto.core.responses import ActionAuthenticatorMixin

    bucket.put("a.png", b"1")
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
    monkeypatch.setattr(ActionAuthenticatorMixin, "request_count", 1)
    for ask in (at(bucket, "a.png").stat, at(bucket, "a.png").read_bytes, lambda: list(at(bucket).below())):
        with pytest.raises(CompSRTError, match="access is denied; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
            ask()
    with pytest.raises(UnwritableError, match="access is denied; set AWS_ACCESS_KEY_ID"):
        at(bucket, "a.png").write_bytes(b"2")


def test_a_server_that_is_not_reached_is_told_with_where_that_is_set(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(CompSRTError, match="the server is not reached; check AWS_ENDPOINT_URL"):
        at(bucket, "a.png").is_dir()


def test_an_upload_that_breaks_off_leaves_the_object_as_it_was(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    from moto.s3.exceptions import S3AccessDeniedError
    from moto.s3.models import S3Backend

    place, upload, parts = at(bucket, "a.png"), S3Backend.upload_part, []

    def fail_at_the_second(self: Any, *args: Any, **named: Any) -> Any:
        parts.append(1)
        if len(parts) == 2:
            raise S3AccessDeniedError
        return upload(self, *args, **named)

    monkeypatch.setattr(S3Backend, "upload_part", fail_at_the_second)
    place.write_bytes(b"old")
    with pytest.raises(UnwritableError, match="access is denied"):
        place.write_bytes(bytes(3 * PART))
    assert len(parts) >= 2 and place.read_bytes() == b"old"
