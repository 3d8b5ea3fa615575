"""`python -m orchestrator`, the `orchestrator` command, and what `ray submit` runs.

`ray submit` copies this one file into the home folder of the cluster's head and runs it there.
The copy finds the project by itself, in the folder that the cluster's file has synced.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

_HEAD = Path("~/ray_bootstrap_config.yaml")
"""What `ray up` leaves on a cluster's head: the cluster's file, as JSON."""


def main() -> None:
    """Run the command line and leave with its exit status."""
    # Nothing is imported before it is needed: `--help` answers at once.
    from orchestrator.cli.main import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


def _find_package() -> None:
    """Let this file, called by its path or copied, import the rest of the package."""
    beside = Path(__file__).resolve().parent
    if (beside / "__init__.py").is_file():
        sys.path[0] = str(beside.parent)
        return
    project = _find_project()
    if project is None:
        sys.exit(
            f"{__file__}: only `ray submit` can run a copy of orchestrator/__main__.py, on a "
            f"cluster's head; here {_HEAD} names no folder that was synced"
        )
    os.chdir(project)
    if (project / "orchestrator" / "__init__.py").is_file():
        sys.path[0] = str(_keep_code(project / "orchestrator"))
    else:
        # The package is installed; nothing of the home folder shall stand in its way.
        del sys.path[0]


def _find_project() -> Path | None:
    """The first folder among those that the cluster's file syncs; None where there is none."""
    config = _HEAD.expanduser()
    mounts = json.loads(config.read_text()).get("file_mounts", {}) if config.is_file() else {}
    synced = (Path(target).expanduser() for target in mounts)
    return next((folder for folder in synced if folder.is_dir()), None)


def _keep_code(package: Path) -> Path:
    """The folder of a copy that no later sync changes under a run; one for each version.

    Modules are imported when they are needed, which may be hours from now.
    """
    files = sorted(path for path in package.rglob("*") if path.suffix in (".py", ".npz"))
    digest = hashlib.sha256()
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package)} {len(content)}\n".encode() + content)
    cache = Path(os.environ.get("ORCHESTRATOR_CACHE") or "~/.cache/orchestrator").expanduser()
    kept = cache / "code" / digest.hexdigest()[:16]
    if not kept.is_dir():
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix="part-", dir=kept.parent))
        shutil.copytree(
            package, part / package.name, ignore=shutil.ignore_patterns("__pycache__")
        )
        try:
            part.rename(kept)
        except OSError:
            # Another run was quicker.
            shutil.rmtree(part)
    return kept


if __name__ == "__main__":
    if not __package__:
        _find_package()
    main()
