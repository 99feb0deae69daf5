"""Every method of the package goes through the suite."""

from __future__ import annotations

import importlib
from typing import ClassVar

from method_suite import MethodSuite

from igcam.methods.background import BackgroundOptions
from igcam.methods.cam import CamOptions
from igcam.methods.classifier import ClassifyOptions
from igcam.methods.registry import methods


class TestCam(MethodSuite):
    method = "cam"
    stages = ("cam",)


class TestCamWithCrf(MethodSuite):
    method = "cam"
    stages = ("cam", "crf")
    changes: ClassVar = {"method": CamOptions(ClassifyOptions((0.01,)), BackgroundOptions("otsu"), crf=True)}


class TestIgcam(MethodSuite):
    method = "igcam"
    stages = ("cam", "guide", "reweight", "sharpen", "crf")


def test_every_method_has_its_suite() -> None:
    importlib.import_module("test_tail_methods")
    own = {name for name, method in methods().items() if type(method).__module__.startswith("igcam.")}
    assert {suite.method for suite in MethodSuite.__subclasses__()} == own
