"""The page of a run: one HTML file with its figures beside it, readable anywhere without a server."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from pipeline import registry
from pipeline.clock import Span, format_utc, parse_utc
from pipeline.dataset import netcdf
from pipeline.dataset.summary import flag_shares, flag_text
from pipeline.errors import StoreError
from pipeline.files import write_aside
from pipeline.passes import get_pass
from pipeline.runs.pictures import Picture, pictures_of, render
from pipeline.runs.store import Store
from pipeline.runs.summary import absent, missing_at_a_glance, sentence

STYLE = Path(__file__).with_name("page.css").read_text()


def write_page(store: Store, run_name: str | None, out: Path | None) -> Path:
    """Draw the page of a run (the newest if None) into a folder; returns the path of ``index.html``.

    A figure that cannot be drawn is named on the page with its reason; it does not stop the others.
    """
    record = store.run(run_name)
    folder = (out or store.root / "reports" / record["run"]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    sections, pictures = [], pictures_of(record["products"], store)
    for name in sorted({p["instrument"] for p in record["products"]}):
        products = [p for p in record["products"] if p["instrument"] == name]
        sections.append(_instrument(name, products, [p for p in pictures if p.instrument == name], folder))
    page = folder / "index.html"
    write_aside(page, _document(record, "".join(sections)).encode())
    return page


def _document(record: dict[str, Any], sections: str) -> str:
    pass_ = get_pass(record["pass"])
    attrs = [netcdf.read_attrs(Path(p["path"])) for p in record["products"] if p["status"] in ("made", "kept")]
    simulated = any("simulated" in a for a in attrs)
    banner = '<p class="banner">Simulated data, not a measurement.</p>' if simulated else ""
    bad = "".join(f"<li>{html.escape(q['reason'])}</li>" for q in record["quarantined"])
    unusable = f"<h2>Raw files that could not be used</h2><ul>{bad}</ul>" if bad else ""
    title = f"Perijove {record['pass']}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style>'
        f"<h1>{title}</h1><p class=sub>closest approach {pass_.utc} UTC &middot; run {record['run']} &middot; "
        f"context {html.escape(record['context']['name'])} &middot; {record['seconds']:.1f} s, "
        f"{record['peak_mb']:.0f} MB at most</p>{banner}<p>{html.escape(sentence(record))}</p>{_missing(record)}"
        f"{sections}{unusable}</html>"
    )


def _missing(record: dict[str, Any]) -> str:
    """The two hours about closest approach of every instrument with gaps, and instruments that are not there at all."""
    window = get_pass(record["pass"]).window()
    rows = "".join(
        f"<tr><td>{html.escape(name)}<td>{_bar(gaps, window)}"
        f"<td>{'<br>'.join(f'{start[11:19]} to {stop[11:19]}' for start, stop in gaps) or 'everything'}"
        f"<td>{html.escape(why)}</tr>"
        for name, gaps, why in missing_at_a_glance(record)
    )
    none = ", ".join(absent(record))
    said = f"<p class=sub>not in this run: {html.escape(none)}</p>" if none else ""
    ends = " to ".join(str(format_utc(et))[:19] for et in (window.start, window.stop))
    head = f"<tr><th>instrument<th>{ends}<th>missing<th>why</tr>"
    return (f"<h2>Missing</h2><table>{head}{rows}</table>" if rows else "") + said


def _bar(gaps: list[tuple[str, str]], window: Span) -> str:
    """A window in time as a bar with its gaps left out; all of it is one where there are none to name."""
    ends = [(float(parse_utc(start)), float(parse_utc(stop))) for start, stop in gaps] or [(window.start, window.stop)]
    holes = "".join(
        f'<rect class="hole" x="{100 * (start - window.start) / window.duration:.2f}" '
        f'width="{100 * (stop - start) / window.duration:.2f}" height="10"/>'
        for start, stop in ends
    )
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="times with records">'
        f'<rect width="100" height="10"/>{holes}</svg>'
    )


def _instrument(name: str, products: list[dict[str, Any]], pictures: list[Picture], folder: Path) -> str:
    rows = "".join(_row(p) for p in products)
    figures = _figures(pictures, folder)
    return (
        f"<h2>{html.escape(registry.load(name).title)}</h2><table><tr><th>product<th>status<th class=n>records"
        f"<th class=n>MB<th>calibration values by pedigree<th>flagged</tr>{rows}</table>{figures}"
    )


def _row(product: dict[str, Any]) -> str:
    path = Path(product["path"] or "")
    records = size = pedigree = flagged = ""
    if path.is_file():
        attrs = netcdf.read_attrs(path)
        pedigree = str(attrs.get("pedigree_counts", ""))
        size = f"{path.stat().st_size / 1e6:.1f}"
        flagged = flag_text(flag_shares(path))
        records = str(product.get("records") or "")
    reason = f"<br>{html.escape(product['reason'])}" if product.get("reason") else ""
    mark = ' class="warn"' if "placeholder" in pedigree or "override" in pedigree else ""
    status = product["status"]
    return (
        f"<tr><td><code>{html.escape(product['identity'])}</code><td class={status}>{status}{reason}"
        f"<td class=n>{records}<td class=n>{size}<td{mark}>{html.escape(pedigree)}<td>{html.escape(flagged)}</tr>"
    )


def _figures(pictures: list[Picture], folder: Path) -> str:
    """The pictures of an instrument; those that the run did not draw are drawn now."""
    parts = []
    for picture in pictures:
        caption = html.escape(picture.caption)
        file = folder / f"{picture.label}.png"
        try:
            write_aside(file, picture.path.read_bytes() if picture.path.exists() else render(picture))
        except StoreError:
            raise
        except Exception as error:  # one figure must not cost the page
            parts.append(
                f"<p class=failed>{caption}: not drawn ({html.escape(f'{type(error).__name__}: {error}')})</p>"
            )
            continue
        parts.append(f'<figure><img src="{file.name}" alt="{caption}"><figcaption>{caption}</figcaption></figure>')
    return "".join(parts)
