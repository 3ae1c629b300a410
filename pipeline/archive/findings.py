"""What the checker finds: like a compiler's messages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """Something wrong.

    Parameters
    ----------
    line : in the file, where there is one.
    rule : short name of what is broken; ``docs/archive.md`` lists them.
    text : what is wrong.
    advice : what to do, or where to look.
    """

    path: Path
    line: int | None
    rule: str
    text: str
    advice: str
    severity: Literal["error", "warning"] = "error"

    def shown(self, root: Path) -> dict[str, Any]:
        """As the command prints it, the path below `root`."""
        path = self.path.relative_to(root).as_posix() if self.path.is_relative_to(root) else str(self.path)
        return {
            "file": path,
            "line": self.line,
            "severity": self.severity,
            "rule": self.rule,
            "text": self.text,
            "advice": self.advice,
        }
