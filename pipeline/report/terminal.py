"""What commands show on a terminal, with rich."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

# Written to a file or a pipe, tables are not folded at the 80 columns that rich takes then.
WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
OUT = Console(highlight=False, soft_wrap=True, width=WIDTH)
ERR = Console(stderr=True, highlight=False)

_STATUS = {"made": "green", "kept": "dim", "blocked": "yellow", "failed": "red", "quarantined": "red"}


class Progress:
    """A bar per product on standard error; one plain line per product where that is no terminal."""

    def __init__(self, products: int) -> None:
        self.products = products
        self.tasks: dict[str, TaskID] = {}
        self.bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=ERR,
            transient=True,
            disable=not ERR.is_terminal,
        )
        self.status = self.bars.add_task(f"{products} products", total=products)
        self.finished: set[str] = set()

    def __enter__(self) -> Progress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def note(self, text: str) -> None:
        """Say what is going on before the first product."""
        self.bars.update(self.status, description=f"[dim]{text}")

    def update(self, name: str, done: int, total: int) -> None:
        """A product's segments done and their number."""
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=total)
            self.bars.update(self.status, description=f"{self.products} products")
        self.bars.update(self.tasks[name], completed=done, total=total)
        if done == total and name not in self.finished:
            self.finished.add(name)
            self.bars.update(self.status, completed=len(self.finished))
            if not ERR.is_terminal:
                ERR.print(f"{name}: {total} segment{'s' if total > 1 else ''}")


def show_waiting(holder: str) -> None:
    """Another run holds the pass."""
    ERR.print(f"waiting for another run of this pass (process {holder}) ...")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column in ("seconds", "records", "MB", "n", "changed", "max", "rms", "max sigma", "rms sigma", "bytes")
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    return table


def _reasons(reasons: list[dict[str, Any]]) -> str:
    words = []
    for reason in reasons:
        if reason["kind"] == "missing":
            words.append("not made yet")
        elif reason["kind"] == "parameter":
            words.append(f"{reason['name']}: {reason['old']} -> {reason['new']}")
        else:
            words.append(f"{reason['kind']} {reason['name']}")
    return "; ".join(words[:4]) + (f" and {len(words) - 4} more" if len(words) > 4 else "")


def show_run(record: dict[str, Any]) -> None:
    """A run's products, what went wrong, time and memory."""
    table = _table("product", "status", "seconds", "records", "MB", "why")
    for p in record["products"]:
        style = _STATUS[p["status"]]
        made = p["made"]
        table.add_row(
            p["identity"],
            f"[{style}]{p['status']}",
            f"{p['seconds']:.1f}" if made else "",
            str(p["records"]) if made else "",
            f"{p['bytes'] / 1e6:.1f}" if made else "",
            _reasons(p["why"]) if made else p.get("reason") or "",
        )
    OUT.print(table)
    for bad in record["quarantined"]:
        OUT.print(f"[red]not usable[/] {bad['reason']}")
    if record["superseded"]:
        OUT.print(f"[dim]{len(record['superseded'])} older versions or other forms of granules not used")
    OUT.print(f"[dim]run {record['run']}: {record['seconds']:.1f} s, {record['peak_mb']:.0f} MB at most[/]")


def show_plan(document: dict[str, Any]) -> None:
    """What would be made and why."""
    if not document["make"]:
        OUT.print("nothing to make")
    else:
        table = _table("would make", "why")
        for p in document["make"]:
            table.add_row(p["identity"], _reasons(p["why"]))
        OUT.print(table)
    for blocked in document["blocked"]:
        OUT.print(f"[yellow]blocked[/] {blocked['identity']}: {blocked['reason']}")
    OUT.print(f"[dim]{document['keep']} products stay as they are")


def show_simulation(document: dict[str, Any]) -> None:
    """What a simulation wrote."""
    OUT.print(f"raw products   {document['raw']}  ({document['files']} files, {document['bytes'] / 1e6:.1f} MB)")
    OUT.print(f"truth          {document['truth']}  ({len(document['products'])} products)")


def show_verification(document: dict[str, Any]) -> None:
    """Integrity and, with a truth, the closed loop."""
    bad = [p for p in document["products"] if not p["ok"]]
    OUT.print(f"{len(document['products']) - len(bad)} of {len(document['products'])} products are what they say")
    for p in bad:
        OUT.print(f"[red]wrong[/] {p['identity']}: {p['problem']}")
    if "variables" in document:
        table = _table("product", "variable", "n", "test", "flagged", "mean", "std", "68 %", "95 %", "KS p", "")
        for v in document["variables"]:
            numbers = [v[k] for k in ("pull_mean", "pull_std", "coverage68", "coverage95", "ks_p")]
            cells = ["" if x is None else f"{x:.3f}" for x in numbers]
            verdict = "[green]ok" if v["ok"] else f"[red]{v['why']}"
            table.add_row(
                v["product"], v["variable"], str(v["n"]), v["test"], f"{100 * v['flagged']:.2f} %", *cells, verdict
            )
        OUT.print(table)
    OUT.print("[green]verified" if document["ok"] else "[red]NOT verified")


def show_comparison(document: dict[str, Any]) -> None:
    """How far two runs are apart."""
    OUT.print(f"{document['same']} products have equal keys in both runs")
    for product in document["products"]:
        OUT.print(f"[bold]{product['identity']}[/]  {_reasons(product['why'])}")
        if "problem" in product:
            OUT.print(f"  [yellow]{product['problem']}")
            continue
        table = _table("variable", "n", "changed", "max", "rms", "units", "max sigma", "rms sigma")
        for v in product["variables"]:
            sigmas = [f"{v[k]:.3g}" if k in v else "" for k in ("max_sigma", "rms_sigma")]
            table.add_row(
                "  " + v["variable"], str(v["n"]), str(v["changed"]), f"{v['max_abs']:.4g}", f"{v['rms']:.4g}",
                v["units"], *sigmas,
            )  # fmt: skip
        OUT.print(table)
    for side in ("a", "b"):
        for identity in document[f"only_{side}"]:
            OUT.print(f"[dim]only in {document[side]}:[/] {identity}")


def show_explanation(document: dict[str, Any], indent: str = "") -> None:
    """A product's origin, with its inputs below it."""
    simulated = " [yellow](simulated)[/]" if document["simulated"] else ""
    OUT.print(f"{indent}[bold]{document['identity']}[/]{simulated}  {document['title']}")
    step = document["step"]
    does = (step["does"] or "").partition("\n")[0]
    OUT.print(f"{indent}  step       {step['step']} version {step['version']}: {does}")
    if "fingerprint" in step:
        OUT.print(f"{indent}             [yellow]made by code that is not the released one of this version[/]")
    OUT.print(f"{indent}  key        {document['key']}")
    OUT.print(f"{indent}  file       {document['path']}")
    for name, granule in document["raw"].items():
        OUT.print(f"{indent}  raw        {name} ({granule['format']}, {len(granule['files'])} files)")
    for table in document["tables"]:
        words = " ".join(f"{n}={c}" for n, c in table.get("pedigrees", {}).items())
        OUT.print(f"{indent}  table      {table['name']} {table['hash'][:12]} {words}")
    for name, value in document["parameters"].items():
        OUT.print(f"{indent}  parameter  {name} = {value}")
    OUT.print(f"{indent}  window     {document['window']}")
    OUT.print(f"{indent}  runs       {', '.join(document['runs'][-3:])}")
    for argument, value in document["inputs"].items():
        _show_input(argument, value, indent)


def _show_input(argument: str, value: Any, indent: str) -> None:
    if value is None:
        OUT.print(f"{indent}  input      {argument}: absent")
    elif "identity" in value:
        OUT.print(f"{indent}  input      {argument}:")
        show_explanation(value, indent + "    ")
    elif "key" in value:
        OUT.print(f"{indent}  input      {argument}: {value['key'][:12]}, no longer in the store")
    else:
        OUT.print(f"{indent}  input      {argument}: {len(value)} products")


def show_rows(what: str, rows: list[dict[str, Any]]) -> None:
    """Rows of a listing."""
    if not rows:
        OUT.print(f"no {what}")
        return
    table = _table(*rows[0])
    for row in rows:
        table.add_row(*(_cell(v) for v in row.values()))
    OUT.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def show_table(document: dict[str, Any]) -> None:
    """A calibration table's entries."""
    for entry in document["entries"]:
        table = entry["table"]
        OUT.print(f"[bold]{document['name']}[/]  {table['title']}")
        OUT.print(f"[dim]valid {entry['start'] or 'always'} to {entry['stop'] or 'ever'}, hash {table['hash'][:12]}")
        for name, q in table["quantities"].items():
            shape = " x ".join(q["dims"]) or "scalar"
            OUT.print(f"  [bold]{name}[/] ({shape}, {q['units']}) [{q['pedigree']}]", markup=True)
            OUT.print(f"    value        {_short(q['value'])}", markup=False)
            OUT.print(f"    uncertainty  {_short(q['uncertainty'])}", markup=False)
            OUT.print(f"    source       {q['source']}", markup=False)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."


def show_certified(document: dict[str, Any]) -> None:
    """A new context."""
    OUT.print(f"context {document['context']} certified ({document['hash'][:12]}); use it with --context")


def show_size(document: dict[str, int]) -> None:
    """Bytes by folder."""
    table = _table("folder", "MB")
    for name, size in document.items():
        table.add_row(name, f"{size / 1e6:.1f}")
    table.add_row("[bold]all", f"{sum(document.values()) / 1e6:.1f}")
    OUT.print(table)


def show_collected(document: dict[str, int]) -> None:
    """What garbage collection freed."""
    OUT.print(f"deleted {document['files']} files, {document['bytes'] / 1e6:.1f} MB")


def show_page(document: dict[str, str]) -> None:
    """Where the page is."""
    OUT.print(f"page           {document['page']}")


def show_export(document: dict[str, str]) -> None:
    """Where the exported file is."""
    OUT.print(document["path"])


def show_doctor(document: dict[str, Any]) -> None:
    """Checks with advice."""
    table = _table("", "what", "found", "advice")
    for c in document["checks"]:
        table.add_row("[green]ok" if c["ok"] else "[red]!!", c["what"], c["found"], c["advice"])
    OUT.print(table)


def show_demo(document: dict[str, Any]) -> None:
    """Everything the demo did and where it is."""
    show_verification(document["verification"])
    OUT.print()
    for label in ("raw", "truth", "store", "page"):
        OUT.print(f"{label:<10} {document[label]}")
    OUT.print(f"[bold]{document['seconds']:.0f} s, {document['peak_mb']:.0f} MB at most[/]")
