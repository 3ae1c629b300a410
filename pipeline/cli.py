"""The command line: thin, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn

import click

from pipeline.errors import InputError, PerijoveError
from pipeline.groups import store, table
from pipeline.options import JSON, PASS, REQUEST, SERVE, STORE, WORKERS
from pipeline.output import drop_output, print_document

KINDS = ["passes", "instruments", "products", "runs", "arrivals", "tables", "contexts"]


class _Commands(click.Group):
    """Turns the project's errors into one message and their exit status."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except PerijoveError as error:
            self.say(str(error))
            context.exit(error.exit_status)
        except OSError as error:
            # A place that cannot be written or read; without a name it is nothing the user could see to.
            if error.filename is None:
                raise
            self.say(f"{error.filename}: {error.strerror}")
            context.exit(InputError.exit_status)

    @staticmethod
    def say(text: str) -> None:
        click.secho(f"perijove: {text}", err=True, fg="red" if sys.stderr.isatty() else None)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="perijove")
def cli() -> None:
    """Turn the raw products of a Juno perijove pass into calibrated datasets.

    `perijove demo` shows everything at once on a simulated pass.
    """


def main() -> None:
    """Run the command line; exit status 130 after Ctrl-C, 143 after SIGTERM."""

    def terminated(number: int, frame: FrameType | None) -> None:
        # A second signal must not cut short how the first one ends.
        signal.signal(number, signal.SIG_IGN)
        click.echo("perijove: terminated; the next run goes on from here", err=True)
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, terminated)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        sys.exit(cli.main(standalone_mode=False, prog_name="perijove"))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("perijove: interrupted; the next run goes on from here", err=True)
        sys.exit(130)
    except BrokenPipeError:
        drop_output()
        sys.exit(0)


def _options(settings: tuple[str, ...], **options: Any) -> dict[str, Any]:
    from pipeline.errors import UsageError

    pairs: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write it as KEY=VALUE")
        pairs[name.strip()] = value.strip()
    return options | {"settings": pairs}


def _request(pass_number: int | None, **options: Any) -> Any:
    from pipeline.errors import UsageError
    from pipeline.runs.run import Request

    if pass_number is None:
        raise UsageError("say which pass, or --all-passes")
    return Request(pass_number=pass_number, **_options(**options))


@cli.command()
@REQUEST
@click.option("--pictures/--no-pictures", default=True, show_default=True, help="Draw the quick looks of what is made.")
@WORKERS
def run(as_json: bool, all_passes: bool, workers: int, address: str | None, timeout: float, **options: Any) -> None:
    """Make the calibrated products of pass PJ from raw data, and their pictures."""
    from pipeline.notebook import shown_record
    from pipeline.report import terminal
    from pipeline.runs.record import exit_status

    if all_passes:
        _run_all(_options(**options), workers, address, timeout, as_json)
    record = _run(_request(**options), workers, address, timeout)
    print_document(shown_record(record), as_json, terminal.show_run)
    sys.exit(exit_status(record))


def _run_all(options: dict[str, Any], workers: int, address: str | None, timeout: float, as_json: bool) -> NoReturn:
    """Every pass of the store; one that cannot be run does not keep the others from it."""
    from pipeline.notebook import shown_record
    from pipeline.report import terminal
    from pipeline.runs.mission import requests_of_all
    from pipeline.runs.record import exit_status

    records, errors = [], {}
    for request in requests_of_all(options):
        try:
            records.append(_run(request, workers, address, timeout))
        except PerijoveError as error:
            errors[request.pass_number] = str(error)
            _Commands.say(f"PJ{request.pass_number:02d}: {error}")
    document = {"runs": [shown_record(r) for r in records], "errors": errors}
    print_document(document, as_json, terminal.show_runs)
    sys.exit(1 if errors or any(map(exit_status, records)) else 0)


def _run(request: Any, workers: int, address: str | None, timeout: float) -> dict[str, Any]:
    from pipeline.report.terminal import Progress, show_waiting
    from pipeline.runs.run import carry_out, prepare

    def with_prefect(session: Any, plan: Any, rounds: Any) -> None:
        with Progress(len(plan.to_make())) as progress:
            progress.note("starting Prefect and the Dask workers")
            from flows.settings import prepare_environment
            from flows.signals import exit_at_once

            prepare_environment(session.store.root)
            with exit_at_once():
                from flows.pass_flow import run_pass

            run_pass(session, plan, rounds, workers=workers, address=address, progress=progress.update, timeout=timeout)

    return carry_out(prepare(request), with_prefect, show_waiting)


@cli.command()
@REQUEST
def plan(as_json: bool, all_passes: bool, **options: Any) -> None:
    """Say what `run` would make and why; changes nothing."""
    from pipeline import notebook
    from pipeline.report import terminal

    if all_passes:
        print_document(notebook.plan_all(_options(**options)), as_json, terminal.show_plans)
        return
    print_document(notebook.plan_of(_request(**options)), as_json, terminal.show_plan)


@cli.command()
@SERVE
@STORE
@WORKERS
def serve(arrivals: Path, store: Path, **options: Any) -> None:
    """Run passes as their raw data arrive: by schedule, on arrival, and by hand from Prefect's interface."""
    from pipeline.runs.arrivals import Arrivals
    from pipeline.runs.log import show_log
    from pipeline.runs.run import clock_of
    from pipeline.runs.store import Store

    show_log()
    kernels = options["kernels"].resolve() if options["kernels"] else None
    watched = Arrivals(arrivals, Store(store).prepare(), clock_of(kernels), options["patience"])
    from flows.settings import prepare_environment

    prepare_environment(watched.store.root, served=True)
    from flows.deployed import Place
    from flows.serve import serve as body

    place = {name: options[name] for name in ("workers", "address", "timeout", "quiet")}
    Place(str(watched.store.root), str(kernels) if kernels else None, **place).announce()
    body(watched, **{name: options[name] for name in ("port", "poll", "first", "every", "repeat", "at_once")})


@cli.command()
@click.argument("pass_number", metavar="PJ", type=PASS)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for raw/ and truth/.")
@click.option("--instrument", "instruments", multiple=True, metavar="X", help="Only these instruments.")
@click.option(
    "--scale",
    type=click.Choice(["demo", "full"]),
    default="demo",
    show_default=True,
    help="40 minutes about closest approach, or two hours at the rates of flight.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of everything that is drawn.")
@JSON
def simulate(
    pass_number: int, out: Path, instruments: tuple[str, ...], scale: Literal["demo", "full"], seed: int, as_json: bool
) -> None:
    """Write the raw products of a simulated pass, and the truth they were made from."""
    from pipeline.report import terminal
    from pipeline.scene.simulate import simulate_pass

    print_document(simulate_pass(pass_number, out, instruments, scale, seed), as_json, terminal.show_simulation)


@cli.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("perijove-demo"),
    show_default=True,
    help="Folder for it all.",
)
@WORKERS
@JSON
def demo(out: Path, workers: int, address: str | None, timeout: float, as_json: bool) -> None:
    """Simulate PJ1, calibrate it, verify it against the truth, and draw its page."""
    from pipeline.report import terminal
    from pipeline.report.demo import demo as body

    def runner(request: Any) -> dict[str, Any]:
        return _run(request, workers, address, timeout)

    document = body(out, runner)
    print_document(document, as_json, terminal.show_demo)
    sys.exit(0 if document["ok"] else 1)


@cli.command()
@click.argument("product")
@STORE
@JSON
def explain(product: str, store: Path, as_json: bool) -> None:
    """Say from what PRODUCT (identity, key or path) was made, and how far to trust it."""
    from pipeline.report import terminal
    from pipeline.runs.explain import explain as body
    from pipeline.runs.store import Store

    print_document(body(Store(store), product), as_json, terminal.show_explanation)


@cli.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--truth", type=click.Path(path_type=Path), help="Folder of a simulation's truth to compare with.")
@STORE
@JSON
def verify(run_name: str | None, truth: Path | None, store: Path, as_json: bool) -> None:
    """Check that the products of a run are what they say; with --truth, that they are right."""
    from pipeline.report import terminal
    from pipeline.runs.store import Store
    from pipeline.runs.verify import verify as body

    document = body(Store(store), run_name, truth)
    print_document(document, as_json, terminal.show_verification)
    sys.exit(0 if document["ok"] else 1)


@cli.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option(
    "--figure", type=click.Path(path_type=Path), help="Draw the distributions of the differences there (PNG)."
)
@STORE
@JSON
def compare(first: str, second: str, figure: Path | None, store: Path, as_json: bool) -> None:
    """Say by how much the products of two runs differ, in their units and in sigma."""
    from pipeline.report import terminal
    from pipeline.runs.compare import compare_runs
    from pipeline.runs.store import Store

    document = compare_runs(Store(store), first, second)
    if figure is not None:
        from pipeline.report.differences import draw

        draw(document, figure)
    print_document(document, as_json, terminal.show_comparison)


@cli.command(name="list")
@click.argument("what", type=click.Choice(KINDS))
@STORE
@click.option("--context", default="default", show_default=True, help="For tables: the context.")
@JSON
def list_(what: str, store: Path, context: str, as_json: bool) -> None:
    """List passes, instruments, products, runs, arrivals, tables or contexts."""
    from pipeline.report import terminal
    from pipeline.runs.listing import listing

    print_document(listing(what, store, context), as_json, lambda rows: terminal.show_rows(what, rows))


cli.add_command(table)
cli.add_command(store)


@cli.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the page; default: in the store, by run.")
@STORE
@JSON
def report(run_name: str | None, out: Path | None, store: Path, as_json: bool) -> None:
    """Draw the page of a run: what was made, its figures, what is flagged and missing."""
    from pipeline.report import terminal
    from pipeline.report.page import write_page
    from pipeline.runs.store import Store

    print_document({"page": str(write_page(Store(store), run_name, out))}, as_json, terminal.show_page)


@cli.command()
@click.argument("product")
@click.option("--format", "form", type=click.Choice(["netcdf"]), default="netcdf", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="File to write; default: named after the product.")
@STORE
@JSON
def export(product: str, form: str, out: Path | None, store: Path, as_json: bool) -> None:
    """Write PRODUCT as a plain CF file that anyone's netCDF reader opens."""
    del form
    from pipeline.report import terminal
    from pipeline.runs.explain import export_product
    from pipeline.runs.store import Store

    print_document({"path": str(export_product(Store(store), product, out))}, as_json, terminal.show_export)


@cli.command()
@click.argument("run_name", metavar="[RUN]", required=False)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder for the bundles, one per instrument."
)
@click.option("--instrument", "instruments", multiple=True, metavar="X", help="Only these instruments.")
@click.option("--format", "form", type=click.Choice(["pds4", "pds3"]), default="pds4", show_default=True)
@click.option(
    "--previous", type=click.Path(path_type=Path), help="Earlier export; what has not changed stays as it is."
)
@click.option("--date", type=click.DateTime(["%Y-%m-%d"]), help="Day of the labels; default: the run's.")
@click.option(
    "--lid-prefix",
    "prefix",
    default="urn:nasa:pds:perijove",
    show_default=True,
    metavar="LID",
    help="How the identifiers of bundles begin.",
)
@STORE
@JSON
def archive(run_name: str | None, form: str, store: Path, as_json: bool, **options: Any) -> None:
    """Write the products of a run as PDS4 bundles, with all they were made from."""
    from pipeline.archive.export import Options
    from pipeline.archive.export import archive as body
    from pipeline.archive.legacy import archive_pds3
    from pipeline.report import terminal
    from pipeline.runs.store import Store

    make = archive_pds3 if form == "pds3" else body
    print_document(make(Store(store), run_name, Options(**options)), as_json, terminal.show_archive)


@cli.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--schemas", type=click.Path(path_type=Path), help="Folder of XSD and Schematron; default: fetched once.")
@STORE
@JSON
def check(bundle: Path, schemas: Path | None, store: Path, as_json: bool) -> None:
    """Check a PDS4 bundle, or all in a folder: labels, files, references, and every byte of data."""
    from pipeline.archive.check import check as body
    from pipeline.report import terminal
    from pipeline.runs.store import Store

    document = body(bundle, schemas, Store(store) if store.is_dir() else None)
    print_document(document, as_json, terminal.show_check)
    sys.exit(0 if document["ok"] else 1)


@cli.command()
@click.option("--kernels", type=click.Path(path_type=Path), help="Folder of SPICE kernels, or a meta-kernel.")
@STORE
@JSON
def doctor(kernels: Path | None, store: Path, as_json: bool) -> None:
    """Say whether everything perijove needs is there."""
    from pipeline.report import terminal
    from pipeline.runs.doctor import doctor as body

    document = body(store, kernels)
    print_document(document, as_json, terminal.show_doctor)
    sys.exit(0 if document["ok"] else 1)
