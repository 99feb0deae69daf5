"""The folder of a distillation: options, progress and checkpoints to resume from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from igcam.core.errors import IgcamError
from igcam.core.files import check_new_folder, read_json, read_tensors, write_json, write_tensors
from igcam.methods.training.loop import Training
from igcam.runs.folder import differences
from igcam.runs.segmenter_file import DESCRIPTION

_ASKED = "distill.json"
_REACHED = "checkpoint.json"


class DistillFolder:
    """A folder with the state of one distillation.

    distill.json               options, classes, digest of the masks
    encoder.safetensors        principal components of the levels
    checkpoint.json            finished round and epoch, losses, name of the file of tensors
    checkpoint-R-E.safetensors weights, their moving average and the optimiser's moments
    rounds/R/NAME.safetensors  predictions of the teacher after round R
    segmenter.*                the trained segmenter
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, asked: dict[str, Any]) -> None:
        """Open a new folder, or one that holds the same distillation.

        Raises:
            IgcamError: It holds another one, or other files.
        """
        file = self.path / _ASKED
        if file.exists():
            held = read_json(file)
            lines = differences(held if isinstance(held, dict) else {}, asked)
            if lines:
                raise IgcamError.from_lines(f"{self.path}: holds another distillation; choose another --out:", lines)
            return
        check_new_folder(self.path, "of a distillation")
        write_json(file, asked)

    @property
    def is_done(self) -> bool:
        """Whether the segmenter is written."""
        return (self.path / DESCRIPTION).is_file()

    @property
    def encoder(self) -> Path:
        """The file with the principal components of the levels."""
        return self.path / "encoder.safetensors"

    def prediction(self, round_: int, name: str) -> Path:
        """Return the file of the teacher's prediction for an image after a round."""
        return self.path / "rounds" / str(round_) / f"{name}.safetensors"

    def save(self, round_: int, training: Training, seconds: float) -> None:
        """Write a checkpoint with the time so far, then remove the previous one."""
        name = f"checkpoint-{round_}-{training.epoch}.safetensors"
        write_tensors(self.path / name, training.tensors())
        facts = {"file": name, "round": round_, "epoch": training.epoch, "curve": training.curve, "seconds": seconds}
        write_json(self.path / _REACHED, facts)
        self._remove_tensors(except_for=name)

    def reached(self) -> tuple[int, float]:
        """Return the round of the checkpoint and the training time up to it in seconds; zeros without one."""
        facts = self._facts()
        return (int(facts["round"]), float(facts["seconds"])) if facts else (0, 0.0)

    def restore(self, round_: int, training: Training) -> None:
        """Load the checkpoint of this round, if there is one.

        Raises:
            IgcamError: It is damaged.
        """
        facts = self._facts()
        if not facts or facts["round"] != round_:
            return
        file = self.path / str(facts["file"])
        tensors = read_tensors(file)
        try:
            training.load(tensors, int(facts["epoch"]), list(facts["curve"]))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise IgcamError(f"{file}: is not of this training: {reason}") from error

    def clear_checkpoint(self) -> None:
        """Remove the checkpoint, once the segmenter is written."""
        (self.path / _REACHED).unlink(missing_ok=True)
        self._remove_tensors()

    def _remove_tensors(self, except_for: str = "") -> None:
        for file in self.path.glob("checkpoint-*.safetensors"):
            if file.name != except_for:
                file.unlink(missing_ok=True)

    def _facts(self) -> dict[str, Any]:
        file = self.path / _REACHED
        if not file.is_file():
            return {}
        facts = read_json(file)
        if not isinstance(facts, dict) or not {"file", "round", "epoch", "curve", "seconds"} <= facts.keys():
            raise IgcamError(f"{file}: is not of a checkpoint; remove it to begin the training anew")
        return facts
