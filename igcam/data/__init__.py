"""Samples, tags and cues: readers and checks.

The paired transforms are imported from `igcam.data.transforms`: torchvision takes as long to load as torch.
"""

from igcam.data.check import check_folder
from igcam.data.cue import BoxCue, Cue, MaskCue, PointCue, ScribbleCue
from igcam.data.cues import read_cues, write_cues
from igcam.data.findings import Finding, has_errors
from igcam.data.formats.coco import coco_cues, read_coco
from igcam.data.formats.folder import read_folder
from igcam.data.formats.voc import VOC_CLASSES, read_voc
from igcam.data.images import find_images, image_size, load_image
from igcam.data.masks import MaskFile, MaskSource, read_mask_file, tags_in_mask, voc_palette, write_mask
from igcam.data.sample import Dataset, Sample, mask_id_to_tag, tag_to_mask_id
from igcam.data.synthetic.scenes import SCENE_CLASSES, Scene, SceneOptions, make_scene, write_scenes
from igcam.data.tags import read_tag_table, write_tag_table

__all__ = [
    "Sample",
    "Dataset",
    "tag_to_mask_id",
    "mask_id_to_tag",
    "Cue",
    "PointCue",
    "BoxCue",
    "ScribbleCue",
    "MaskCue",
    "read_cues",
    "write_cues",
    "MaskSource",
    "MaskFile",
    "read_mask_file",
    "write_mask",
    "tags_in_mask",
    "voc_palette",
    "load_image",
    "image_size",
    "find_images",
    "read_folder",
    "read_tag_table",
    "write_tag_table",
    "read_voc",
    "VOC_CLASSES",
    "read_coco",
    "coco_cues",
    "SCENE_CLASSES",
    "Scene",
    "SceneOptions",
    "make_scene",
    "write_scenes",
    "check_folder",
    "Finding",
    "has_errors",
]
