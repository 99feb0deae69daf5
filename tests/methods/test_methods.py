"""Every method, through the pipeline."""

from __future__ import annotations

from typing import ClassVar

from method_suite import MethodSuite

from igcam.methods.background import BackgroundOptions
from igcam.methods.cam import CamOptions
from igcam.methods.classify import ClassifyOptions
from igcam.methods.igcam.method import STAGES
from igcam.methods.options import METHODS


class TestCam(MethodSuite):
    method = "cam"
    stages = ("classify",)


class TestCamWithCrf(MethodSuite):
    method = "cam"
    stages = ("classify", "crf")
    changes: ClassVar = {"cam": CamOptions(ClassifyOptions((0.01,)), BackgroundOptions("otsu"), crf=True)}


class TestIgcam(MethodSuite):
    method = "igcam"
    stages = STAGES


def test_every_method_has_its_suite() -> None:
    assert {suite.method for suite in MethodSuite.__subclasses__()} == set(METHODS)
