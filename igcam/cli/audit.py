"""The command `audit`; `igcam.cli.main` registers it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from igcam.cli.options import FinishedRun, RunBank
from igcam.cli.progress import progress_bars
from igcam.core.errors import IgcamError


def audit(
    run: FinishedRun,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results; default: RUN/audit.")] = None,
    bank: RunBank = None,
    limit: Annotated[int, typer.Option(min=1, help="Number of suspicious tags to list.")] = 200,
    pictures: Annotated[int, typer.Option(help="Number of them to show with pictures, 0 to 100.")] = 30,
    fixes: Annotated[
        Path | None,
        typer.Option("--apply", help="The table with your answers in its column fix; writes OUT/corrected-tags.csv."),
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Seconds for annotation: proposes which images, with which kind of cue.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Kind to propose: point, scribble, box or mask. Repeatable; default: all.")
    ] = None,
    cost: Annotated[
        list[str] | None, typer.Option(help="KIND=SECONDS per image, its tags included: mask=180. Repeatable.")
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, hidden=True)] = None,
) -> None:
    """Rank the tags of a run that are probably wrong or missing, and propose what to annotate next."""
    from igcam.commands.audit import audit as run_audit
    from igcam.commands.next_cues import propose_cues, write_proposals
    from igcam.label_quality.next_cue import RESOLVED
    from igcam.label_quality.suspect_table import apply_fixes, check_unanswered, write_suspects
    from igcam.reporting import write_audit_page
    from igcam.runs.dataset_file import read_dataset_file
    from igcam.runs.folder import RunFolder

    console = Console()
    say = partial(console.print, highlight=False, soft_wrap=True)
    opened = RunFolder.open(run)
    out = out or opened.file("audit")
    if fixes is not None:
        changed = apply_fixes(read_dataset_file(opened.file("samples.json")), fixes, out / "corrected-tags.csv")
        say(f"{changed} tags changed in {out / 'corrected-tags.csv'}")
        return
    check_unanswered(out / "suspects.csv")
    if budget is None and (kind or cost):
        raise IgcamError("--kind, --cost: need --budget")
    proposals = []
    if budget is not None:
        proposals = propose_cues(opened, budget, kinds=tuple(kind or RESOLVED), costs=_costs(cost or []))
    with progress_bars(console) as progress:
        found = run_audit(opened, bank=bank, limit=most or limit, progress=progress)
    write_suspects(out / "suspects.csv", found.suspects)
    if budget is not None:
        write_proposals(out / "next-cues.csv", found.dataset, proposals)
        say(f"next cues: {len(proposals)} in {out / 'next-cues.csv'}")
    page = write_audit_page(opened.path.resolve().name, found, out / "audit.html", proposals, pictures)
    likely = sum(item.score > 0 for item in found.suspects)
    say(f"{likely} tags are probably wrong or missing: {out / 'suspects.csv'}")
    say(f"page: {page}")


def _costs(given: list[str]) -> dict[str, float]:
    costs, wrong = {}, []
    for item in given:
        name, _, number = item.partition("=")
        try:
            costs[name.strip()] = float(number)
        except ValueError:
            wrong.append(item)
    if wrong:
        raise IgcamError(f"--cost: must be KIND=SECONDS, got {', '.join(wrong)}")
    return costs
