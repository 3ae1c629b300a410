"""What commands show on a terminal, with rich."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from pipeline.dataset.summary import flag_text
from pipeline.runs.store import PICTURES
from pipeline.runs.summary import flagged, missing_at_a_glance, sentence

# Written to a file or a pipe, tables are not folded at the 80 columns that rich takes then.
WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
# Without markup: reasons, paths and sources hold brackets of their own.
OUT = Console(highlight=False, markup=False, soft_wrap=True, width=WIDTH)
ERR = Console(stderr=True, highlight=False, markup=False)
# Digits of a hash or key: enough to name it by.
DIGITS = 12

_STATUS = {"made": "green", "kept": "dim", "blocked": "yellow", "failed": "red", "quarantined": "red"}


class Progress:
    """A bar per product on standard error, and one for all pictures; plain lines where that is no terminal."""

    def __init__(self, products: int) -> None:
        self.products = products
        self.tasks: dict[str, TaskID] = {}
        self.bars = RichProgress(
            TextColumn("{task.description}", markup=False),
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
        self.bars.update(self.status, description=text)

    def update(self, name: str, done: int, total: int) -> None:
        """A product's segments done and their number."""
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=total)
            self.bars.update(self.status, description=f"{self.products} products")
        self.bars.update(self.tasks[name], completed=done, total=total)
        if done == total and name not in self.finished:
            self.finished.add(name)
            self.bars.update(self.status, completed=len(self.finished - {PICTURES}))
            if not ERR.is_terminal:
                line = _count(total, "picture") if name == PICTURES else f"{name}: {_count(total, 'segment')}"
                ERR.print(line, soft_wrap=True)


def show_waiting(holder: str) -> None:
    """Another run holds the pass."""
    ERR.print(f"waiting for another run of this pass (process {holder}) ...")


def _say(*parts: str | tuple[str, str]) -> None:
    """A line of texts, or pairs of text and style."""
    OUT.print(Text.assemble(*parts))


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


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
        made = p["made"]
        table.add_row(
            p["identity"],
            Text(p["status"], _STATUS[p["status"]]),
            f"{p['seconds']:.1f}" if made else "",
            str(p["records"]) if made else "",
            f"{p['bytes'] / 1e6:.1f}" if made else "",
            _reasons(p["why"]) if made else p.get("reason") or "",
        )
    OUT.print(table)
    for bad in record["quarantined"]:
        _say(("not usable", "red"), f" {bad['reason']}")
    if record["superseded"]:
        number = _count(len(record["superseded"]), "granule")
        _say((f"{number} not used: another version or form is better", "dim"))
    for name, gaps, why in missing_at_a_glance(record):
        when = ", ".join(f"{start[:19]} to {stop[11:19]}" for start, stop in gaps) or "everything"
        _say(("missing", "yellow"), f" {name} {when}: {why}")
    for identity in flagged(record):
        shares = next(p["flagged"] for p in record["products"] if p["identity"] == identity)
        _say(("flagged", "yellow"), f" {identity}: {flag_text(shares)}")
    _show_pictures(record["pictures"])
    _say((f"run {record['run']}: {record['seconds']:.1f} s, {record['peak_mb']:.0f} MB at most", "dim"))


def _show_pictures(pictures: list[dict[str, Any]]) -> None:
    """Where the pictures are, and which could not be drawn."""
    for bad in (p for p in pictures if p["status"] == "failed"):
        _say(("not drawn", "yellow"), f" {bad['caption']}: {bad['reason']}")
    there = [p for p in pictures if p["status"] != "failed"]
    if there:
        new = sum(p["status"] == "drawn" for p in there)
        _say(f"{_count(len(there), 'picture')} ({new} new) in {Path(there[0]['path']).parent}")


def show_plan(document: dict[str, Any]) -> None:
    """What would be made and why."""
    if not document["make"]:
        _say("nothing to make")
    else:
        table = _table("would make", "why")
        for p in document["make"]:
            table.add_row(p["identity"], _reasons(p["why"]))
        OUT.print(table)
    for blocked in document["blocked"]:
        _say(("blocked", "yellow"), f" {blocked['identity']}: {blocked['reason']}")
    for bad in document["quarantined"]:
        _say(("not usable", "red"), f" {bad['reason']}")
    _say((f"kept as they are: {_count(document['keep'], 'product')}", "dim"))


def show_plans(document: dict[str, Any]) -> None:
    """What would be made of all passes, and why."""
    for planned in document["passes"]:
        _say((f"PJ{planned['pass']:02d}", "bold"))
        if planned["error"]:
            _say(("cannot be planned", "red"), f" {planned['error']}")
        else:
            show_plan(planned)
    _say((f"{_count(document['make'], 'product')} to make, {document['keep']} kept as they are", "bold"))


def show_runs(document: dict[str, Any]) -> None:
    """Runs of several passes, a line each."""
    table = _table("pass", "run", "seconds", "MB", "")
    for record in document["runs"]:
        number, said = f"PJ{record['pass']:02d}", sentence(record)
        table.add_row(number, record["run"], f"{record['seconds']:.1f}", f"{record['peak_mb']:.0f}", said)
    for number, error in document["errors"].items():
        table.add_row(f"PJ{number:02d}", Text("not run", "red"), "", "", error)
    OUT.print(table)


def show_simulation(document: dict[str, Any]) -> None:
    """What a simulation wrote."""
    _say(f"raw products   {document['raw']}  ({_count(document['files'], 'file')}, {document['bytes'] / 1e6:.1f} MB)")
    _say(f"truth          {document['truth']}  ({_count(len(document['products']), 'product')})")


def show_verification(document: dict[str, Any]) -> None:
    """Integrity and, with a truth, the closed loop."""
    bad = [p for p in document["products"] if not p["ok"]]
    _say(f"{len(document['products']) - len(bad)} of {len(document['products'])} products are what they say")
    for p in bad:
        _say(("wrong", "red"), f" {p['identity']}: {p['problem']}")
    if "variables" in document:
        table = _table("product", "variable", "n", "test", "flagged", "mean", "std", "68 %", "95 %", "KS p", "")
        for v in document["variables"]:
            numbers = [v[k] for k in ("pull_mean", "pull_std", "coverage68", "coverage95", "ks_p")]
            cells = ["" if x is None else f"{x:.3f}" for x in numbers]
            verdict = Text("ok", "green") if v["ok"] else Text(v["why"], "red")
            table.add_row(
                v["product"], v["variable"], str(v["n"]), v["test"], f"{100 * v['flagged']:.2f} %", *cells, verdict
            )
        OUT.print(table)
    _say(("verified", "green") if document["ok"] else ("NOT verified", "red"))


def show_comparison(document: dict[str, Any]) -> None:
    """How far two runs are apart."""
    _say(f"the same in both runs: {_count(document['same'], 'product')}")
    for product in document["products"]:
        _say((product["identity"], "bold"), f"  {_reasons(product['why'])}")
        if "problem" in product:
            _say((f"  {product['problem']}", "yellow"))
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
            _say((f"only in {document[side]}: ", "dim"), identity)


def show_explanation(document: dict[str, Any], indent: str = "") -> None:
    """A product's origin, with its inputs below it."""
    simulated = " (simulated)" if document["simulated"] else ""
    _say(indent, (document["identity"], "bold"), (simulated, "yellow"), f"  {document['title']}")
    step = document["step"]
    does = (step["does"] or "").partition("\n")[0]
    _say(f"{indent}  step       {step['step']} version {step['version']}: {does}")
    if "fingerprint" in step:
        _say((f"{indent}             made by code that is not the released one of this version", "yellow"))
    _say(f"{indent}  key        {document['key']}")
    _say(f"{indent}  file       {document['path']}")
    for name, granule in document["raw"].items():
        _say(f"{indent}  raw        {name} ({granule['format']}, {_count(len(granule['files']), 'file')})")
    for table in document["tables"]:
        words = " ".join(f"{n}={c}" for n, c in table.get("pedigrees", {}).items())
        _say(f"{indent}  table      {table['name']} {table['hash'][:DIGITS]} {words}")
    for name, value in document["parameters"].items():
        _say(f"{indent}  parameter  {name} = {value}")
    _say(f"{indent}  window     {document['window']}")
    _say(f"{indent}  runs       {', '.join(document['runs'][:3])}")
    for argument, value in document["inputs"].items():
        _show_input(argument, value, indent)


def _show_input(argument: str, value: Any, indent: str) -> None:
    if value is None:
        _say(f"{indent}  input      {argument}: absent")
    elif "identity" in value:
        _say(f"{indent}  input      {argument}:")
        show_explanation(value, indent + "    ")
    elif "key" in value:
        _say(f"{indent}  input      {argument}: {value['key'][:DIGITS]}, no longer in the store")
    else:
        _say(f"{indent}  input      {argument}: {_count(len(value), 'product')}")


def show_rows(what: str, rows: list[dict[str, Any]]) -> None:
    """Rows of a listing."""
    if not rows:
        _say(f"no {what}")
        return
    table = _table(*rows[0])
    for row in rows:
        table.add_row(*(_cell(v)[: DIGITS if k in ("key", "hash", "base") else None] for k, v in row.items()))
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
        _say((document["name"], "bold"), f"  {table['title']}")
        valid = " ".join(f"{word} {entry[end]}" for word, end in (("from", "start"), ("until", "stop")) if entry[end])
        _say((f"valid {valid or 'at all times'}, hash {table['hash'][:DIGITS]}", "dim"))
        for name, q in table["quantities"].items():
            shape = " x ".join(q["dims"]) or "scalar"
            _say("  ", (name, "bold"), f" ({shape}, {q['units']}) [{q['pedigree']}]")
            _say(f"    value        {_short(q['value'])}")
            _say(f"    uncertainty  {_short(q['uncertainty'])}")
            _say(f"    source       {q['source']}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:197] + "..."


def show_certified(document: dict[str, Any]) -> None:
    """A new context."""
    _say(f"context {document['context']} certified ({document['hash'][:DIGITS]}); use it with --context")


def show_size(document: dict[str, int]) -> None:
    """Bytes by folder."""
    table = _table("folder", "MB")
    for name, size in document.items():
        table.add_row(name, f"{size / 1e6:.1f}")
    table.add_row(Text("all", "bold"), f"{sum(document.values()) / 1e6:.1f}")
    OUT.print(table)


def show_collected(document: dict[str, int]) -> None:
    """What garbage collection freed."""
    _say(f"deleted {_count(document['files'], 'file')}, {document['bytes'] / 1e6:.1f} MB")


def show_page(document: dict[str, str]) -> None:
    """Where the page is."""
    _say(f"page           {document['page']}")


def show_export(document: dict[str, str]) -> None:
    """Where the exported file is."""
    _say(document["path"])


def show_archive(document: dict[str, Any]) -> None:
    """The bundles that were written."""
    table = _table("instrument", "bundle", "products", "MB", "folder")
    for b in document["bundles"]:
        size = f"{b['bytes'] / 1e6:.1f}"
        table.add_row(b["instrument"], b["lid"] or "", str(b["products"]), size, b["path"])
    OUT.print(table)
    for b in document["bundles"]:
        for problem in b["not_drawn"]:
            _say(("not drawn", "yellow"), f" {problem}")


def show_check(document: dict[str, Any]) -> None:
    """Findings as a compiler writes them, then what was looked at."""
    colours = {"error": "red", "warning": "yellow"}
    for f in document["findings"]:
        place = f["file"] if f["line"] is None else f"{f['file']}:{f['line']}"
        _say(f"{place}: ", (f["severity"], colours[f["severity"]]), f" [{f['rule']}] {f['text']}; {f['advice']}")
    for b in document["bundles"]:
        counts = f"{b['labels']} labels, {b['objects']} objects read, {b['compared']} compared with their products"
        _say(f"{b['path']}: {counts}, {b['bytes'] / 1e6:.1f} MB")
    _say(f"{_count(document['errors'], 'error')}, {_count(document['warnings'], 'warning')}")


def show_doctor(document: dict[str, Any]) -> None:
    """Checks with advice."""
    table = _table("", "what", "found", "advice")
    for c in document["checks"]:
        table.add_row(Text("ok", "green") if c["ok"] else Text("!!", "red"), c["what"], c["found"], c["advice"])
    OUT.print(table)


def show_demo(document: dict[str, Any]) -> None:
    """Everything the demo did and where it is."""
    show_verification(document["verification"])
    OUT.print()
    for label in ("raw", "truth", "store", "page"):
        _say(f"{label:<10} {document[label]}")
    _say((f"{document['seconds']:.0f} s, {document['peak_mb']:.0f} MB at most", "bold"))
