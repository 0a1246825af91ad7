"""What a bucket's journal says was made is what is there, made from the same."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from s3_server import Bucket

from compsrt_plugin.buckets import BucketPath
from compsrt_plugin.data.bucket_journal import BucketJournal, journal_of
from compsrt_plugin.data.journal import Journal
from compsrt_plugin.errors import CompSRTError

PLACE, FROM = "deep/a b.png", [2, "s3://b/a b.png", 7, None]


@pytest.fixture
def root(bucket: Bucket) -> BucketPath:
    root = BucketPath(bucket.name, "out")
    bucket.put(f"out/{PLACE}", b"content")
    BucketJournal(root).add(PLACE, FROM)
    return root


def holds(root: BucketPath, made_from: list = FROM) -> bool:
    return BucketJournal(root).holds(PLACE, made_from)


def test_what_was_made_is_held_and_only_from_the_same(root: BucketPath):
    assert holds(root) and not holds(root, [2, "s3://b/a b.png", 8, None])
    assert not BucketJournal(root).holds("b.png", FROM) and not BucketJournal(root.parent).holds(PLACE, FROM)


def test_a_result_that_is_gone_or_has_no_record_is_made_again(root: BucketPath, bucket: Bucket):
    bucket.put("out/b.png", b"content")  # killed before its record
    bucket.delete(f"out/{PLACE}")
    assert not holds(root) and not BucketJournal(root).holds("b.png", FROM)


def test_a_result_of_the_same_length_that_was_put_later_is_another(root: BucketPath, bucket: Bucket):
    time.sleep(1.1)  # servers tell whole seconds
    bucket.put(f"out/{PLACE}", b"another")
    assert not holds(root)
    BucketJournal(root).add(PLACE, ["newer"])
    assert holds(root, ["newer"]) and not holds(root)


def test_a_bucket_that_is_not_there_is_an_error_before_anything_is_made(bucket: Bucket):
    with pytest.raises(CompSRTError, match="there is no bucket s3://no-such-bucket"):
        holds(BucketPath("no-such-bucket", "out"))


def test_each_kind_of_place_has_its_journal(tmp_path: Path):
    assert isinstance(journal_of(tmp_path), Journal) and isinstance(journal_of(BucketPath("b")), BucketJournal)
