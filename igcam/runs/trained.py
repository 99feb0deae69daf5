"""What a finished run has trained, without its backbone."""

from __future__ import annotations

from igcam.core.errors import IgcamError
from igcam.methods.base import Model, Refinement
from igcam.runs.artefacts import RunArtefacts
from igcam.runs.folder import RunFolder


def open_model(run: RunFolder) -> Model:
    """Load what a run has trained, by the method of the run.

    Raises:
        IgcamError: The run is not finished, or its files are damaged or do not fit each other.
    """
    options = run.options
    steps = [stage.name for stage in options.stages if not isinstance(stage, Refinement)]
    unfinished = [name for name in steps if not run.is_done(name)]
    # Runs of version 0.1.0 keep activation maps with the classifier.
    unfinished = [name for name in unfinished if not (name == "cam" and run.is_done("classify"))]
    if unfinished:
        raise IgcamError(f"{run.path}: is not finished: no {', '.join(unfinished)}; run igcam fit again")
    return options.entry.model(RunArtefacts(run), options.chosen, options, len(run.classes))
