"""Addresses of object storage."""

import pytest

from orchestrator.specs.addresses import check_address, is_address


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a?region=eu-west-1&scheme=http", "s3://bucket/a?region=eu-west-1&scheme=http"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("file:///mnt/lab/", "file:///mnt/lab"),
    ],
)  # fmt: skip
def test_an_address_is_kept_without_its_last_slash(given: str, kept: str) -> None:
    """One storage has one name, however it was typed."""
    assert is_address(given)
    assert check_address(given) == kept


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            "ftp://host/a",
            "no such object storage (got 'ftp://host/a'); name a folder, or one of ",
        ),
        ("s3://", "names no bucket (got 's3://'); write s3://BUCKET/NAME"),
        ("s3:///a", "names no bucket (got 's3:///a'); write s3://BUCKET/NAME"),
        ("file://host/a", "names no folder (got 'file://host/a'); write file:///FOLDER"),
        ("file:///", "names no folder (got 'file:///'); write file:///FOLDER"),
        ("s3://b?regoin=x", "takes no 'regoin' (got 's3://b?regoin=x'); there are endpoint_"),
        ("gs://b?region=x", "takes no 'region' (got 'gs://b?region=x'); leave it out"),
    ],
)
def test_what_is_none_is_refused(given: str, why: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the text is compared below
        check_address(given)

    assert str(refused.value).startswith(why)


def test_a_password_is_refused_and_not_repeated() -> None:
    """It would be printed, and kept with every record."""
    with pytest.raises(ValueError, match=r"AWS_SECRET_ACCESS_KEY, or AWS_PROFILE$") as refused:
        check_address("s3://key:secret@bucket/a")

    assert "secret@" not in str(refused.value)
