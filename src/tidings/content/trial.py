"""Templates examined in a process of their own, with limits on time and memory: an endless one harms nobody else."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tidings.content.brand import BrandView, Palette
from tidings.content.lint import Problem, brand_problems, examine
from tidings.content.templates import SUFFIXES, Library
from tidings.model.people import Channel

SECONDS = 10.0  # for one template
_MEMORY = 2_000_000_000  # bytes of address space; the libraries alone take a few hundred megabytes
_START = 20.0  # seconds for a busy machine to start the process

Wanted = tuple[str, Channel]


def problems(
    library: Library,
    wanted: Sequence[Wanted] | None = None,
    variants: Sequence[str] = (),
    *,
    seconds: float = SECONDS,
) -> list[Problem]:
    """Return what ``tidings check`` prints about templates and brand colours; all templates unless told which."""
    left = list(library.names() if wanted is None else wanted)
    found = brand_problems(library.brand)
    while left:
        done, current, seen = _run(library, left, variants, seconds)
        found.extend(seen)
        left = left[done:]
        if current is not None:
            file = f"{library.folder.name}/{current[0]}{SUFFIXES[current[1]]}"
            rule = f"must render within {seconds:g} seconds and {_MEMORY // 1_000_000} MB"
            found.append(Problem(file, 1, rule, "an endless loop or a giant value"))
            left = left[1:]
    return sorted(dict.fromkeys(found))


def _run(
    library: Library, wanted: Sequence[Wanted], variants: Sequence[str], seconds: float
) -> tuple[int, Wanted | None, list[Problem]]:
    """Return how many templates were examined, the one that did not end (if one did not), and what was found."""
    asked = json.dumps(
        {
            "folder": str(library.folder),
            "brand": asdict(library.brand),
            "wanted": [(name, channel.value) for name, channel in wanted],
            "variants": list(variants),
            "seconds": seconds,
        }
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "tidings.content.trial"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        said, _ = child.communicate(asked, timeout=_START + seconds * len(wanted))
    except subprocess.TimeoutExpired:
        child.kill()
        said, _ = child.communicate()
    done = 0
    found: list[Problem] = []
    for line in said.splitlines():
        if not line.endswith("]"):
            break  # cut off in the middle of a line when the process was ended
        found.extend(Problem(**problem) for problem in json.loads(line))
        done += 1
    return done, wanted[done] if done < len(wanted) else None, found


def main() -> None:
    """Examine the templates named on standard input, one line of JSON for each; limits hold from here on."""
    asked: dict[str, Any] = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    library = Library(Path(asked["folder"]), _brand(asked["brand"]))
    for name, channel in asked["wanted"]:
        # CPU time, so that a busy machine does not fail a good template; the kernel ends the process.
        spent = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(spent.ru_utime + spent.ru_stime + max(asked["seconds"], 1)) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        found = examine(library, name, Channel(channel), asked["variants"])
        print(json.dumps([asdict(problem) for problem in found]), flush=True)


def _brand(said: dict[str, Any]) -> BrandView:
    return BrandView(**{**said, "light": Palette(**said["light"]), "dark": Palette(**said["dark"])})


if __name__ == "__main__":
    main()
