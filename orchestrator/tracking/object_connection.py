"""A connection to an object store, with limits of time, and its errors in words."""

import os
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

_SAID: Final = re.compile(r"AWS Error (\w+)[^:]*: (.*)", re.DOTALL)
_ANSWER_S: Final = 10.0
"""For a connection, and for the next byte of an answer."""


def connect(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path in it.

    Args:
        address: As `specs.addresses.check_address` returns it.

    Raises:
        OSError: Nothing answers there, or there is no such bucket.
    """
    from pyarrow import fs

    parts = urlsplit(address)
    if parts.scheme == "file":
        return fs.LocalFileSystem(), parts.path
    path = parts.netloc + parts.path
    if parts.scheme == "gs":
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=2 * _ANSWER_S)), path
    options = dict(parse_qsl(parts.query))
    # The constructor, which alone takes limits of time, does not read these variables.
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint and "endpoint_override" not in options:
        scheme, _, host = endpoint.rpartition("://")
        options = {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"} | options
    if "region" not in options and "endpoint_override" not in options:
        # Where AWS does not tell a bucket's region, AWS_REGION and ~/.aws do.
        with suppress(OSError):
            options["region"] = fs.resolve_s3_region(parts.netloc)
    store = fs.S3FileSystem(
        connect_timeout=_ANSWER_S,
        request_timeout=_ANSWER_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=2),
        # One request for a small file, in place of three.
        allow_delayed_open=True,
        **options,
    )
    return store, path


def word_error(error: Exception) -> str:
    """What went wrong, in a line."""
    text = " ".join(str(error).split())
    said = _SAID.search(text)
    if said is None:
        return text[:200]
    why = said[2].partition(" (Request ID")[0].rpartition("Details: ")[2]
    return f"{said[1]}: {why[:200]}"
