"""Samples, tags, cues and masks: readers, writers and checks.

The paired transforms are imported from `igcam.data.transforms`: torchvision takes as long to load as torch.
"""

from igcam.data.check import check_folder
from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.data.cues import read_cues, write_cues
from igcam.data.findings import has_errors
from igcam.data.formats.coco import coco_cues, read_coco
from igcam.data.formats.folder import read_folder
from igcam.data.formats.voc import VOC_CLASSES, read_voc
from igcam.data.masks import MaskFile, MaskSource, write_mask
from igcam.data.sample import Dataset, Sample
from igcam.data.synthetic.scenes import SCENE_CLASSES, SceneOptions, make_scene, write_scenes
