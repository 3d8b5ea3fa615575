"""Addresses of object storage, such as `s3://bucket/name`, in place of a folder."""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

SCHEMES: Final = ("s3", "gs", "file")
_PARAMETERS: Final = ("endpoint_override", "region", "scheme")
"""What may follow the question mark of an address of S3."""


def is_address(text: str) -> bool:
    """Whether it is meant as an address, and not as a folder."""
    return "://" in text


def check_address(address: str) -> str:
    """The address of a storage as the records have it: without a slash at its end.

    Raises:
        ValueError: It is of no object storage, or holds a password.
    """
    parts = urlsplit(address)
    known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    if "@" in parts.netloc:
        # The address is not repeated: it would be printed, password and all.
        raise ValueError(
            "holds a password; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
    if parts.scheme not in SCHEMES:
        raise ValueError(
            f"no such object storage (got {address!r}); name a folder, or one of {known}"
        )
    if parts.scheme == "file":
        if parts.netloc or not parts.path.strip("/"):
            raise ValueError(f"names no folder (got {address!r}); write file:///FOLDER")
    elif not parts.netloc:
        raise ValueError(
            f"names no bucket (got {address!r}); write {parts.scheme}://BUCKET/NAME"
        )
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    wrong = [name for name in given if parts.scheme != "s3" or name not in _PARAMETERS]
    if wrong:
        allowed = (
            f"there are {', '.join(_PARAMETERS)}" if parts.scheme == "s3" else "leave it out"
        )
        raise ValueError(f"takes no {wrong[0]!r} (got {address!r}); {allowed}")
    return parts._replace(path=parts.path.rstrip("/"), fragment="").geturl()
