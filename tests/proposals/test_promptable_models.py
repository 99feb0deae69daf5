from __future__ import annotations

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch

from igcam.core.errors import IgcamError
from igcam.proposals.promptable_models import load_concept_segmenter, load_point_and_box_segmenter

transformers = pytest.importorskip("transformers", reason="the extra `promptable` is not installed")
IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
POINTS = np.array([[10, 20], [40, 30], [60, 5]], np.float32)
BOXES = np.array([[4, 4, 30, 40], [20, 10, 60, 44]], np.float32)


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM of random weights that looks at 64 pixels."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam")
    vision = {
        "hidden_size": 16,
        "output_channels": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "mlp_dim": 32,
        "window_size": 2,
        "global_attn_indexes": [0],
        "num_pos_feats": 8,
    }
    prompt = {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder |= {"iou_head_hidden_dim": 16, "iou_head_depth": 2}
    config = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder, tie_word_embeddings=False
    )
    transformers.SamModel(config).save_pretrained(folder)
    looks = transformers.SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16}
    )
    transformers.SamProcessor(looks).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM 2 of random weights that looks at 64 pixels."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam2")
    backbone = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 4],
        window_positional_embedding_background_size=[2, 2],
        global_attention_blocks=[3],
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=16,
    )
    config = transformers.Sam2Config(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
            "iou_head_depth": 2,
        },
    )
    transformers.Sam2Model(config).save_pretrained(folder)
    looks = transformers.Sam2ImageProcessor(size={"height": 64, "width": 64}, mask_size={"height": 16, "width": 16})
    transformers.Sam2Processor(looks).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SAM 3 of random weights that looks at 56 pixels and reads letters."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("sam3")
    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    vit = {**small, "num_hidden_layers": 2, "image_size": 56, "patch_size": 14, "window_size": 2}
    vit |= {"global_attn_indexes": [1], "pretrain_image_size": 28, "model_type": "sam3_vit_model"}
    letters = list("abcdefghijklmnopqrstuvwxyz")
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    config = transformers.Sam3Config(
        vision_config={
            "backbone_config": vit,
            "fpn_hidden_size": 16,
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        },
        text_config={
            **small,
            "vocab_size": len(vocabulary),
            "projection_dim": 16,
            "num_hidden_layers": 1,
            "max_position_embeddings": 32,
            "bos_token_id": len(vocabulary) - 2,
            "eos_token_id": len(vocabulary) - 1,
            "pad_token_id": len(vocabulary) - 1,
        },
        geometry_encoder_config={**small, "num_layers": 1},
        detr_encoder_config={**small, "num_layers": 1},
        detr_decoder_config={**small, "num_layers": 1, "num_queries": 6},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )
    transformers.Sam3Model(config).save_pretrained(folder)
    tokenizer = transformers.CLIPTokenizer(
        vocab={token: number for number, token in enumerate(vocabulary)}, merges=[], model_max_length=32
    )
    looks = transformers.Sam3ImageProcessor(size={"height": 56, "width": 56})
    transformers.Sam3Processor(looks, tokenizer).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["sam", "sam2"])
def test_every_prompt_has_its_answers(kind: str, request: pytest.FixtureRequest) -> None:
    segmenter = load_point_and_box_segmenter(request.getfixturevalue(kind))
    masks, certainty = segmenter(IMAGE, POINTS, BOXES)
    # Three masks of different size a prompt.
    assert masks.shape == (15, 48, 64)
    assert masks.dtype == bool
    assert certainty.shape == (15,)
    assert np.isfinite(certainty).all()
    by_points, _ = segmenter(IMAGE, POINTS, BOXES[:0])
    by_boxes, _ = segmenter(IMAGE, POINTS[:0], BOXES)
    np.testing.assert_array_equal(masks, np.concatenate([by_points, by_boxes]))
    none, certainty = segmenter(IMAGE, POINTS[:0], BOXES[:0])
    assert none.shape == (0, 48, 64)
    assert certainty.shape == (0,)


def test_half_precision_gives_the_same_shapes(sam2: Path) -> None:
    masks, certainty = load_point_and_box_segmenter(sam2, dtype="bfloat16")(IMAGE, POINTS, BOXES)
    assert masks.shape == (15, 48, 64)
    assert certainty.dtype == np.float32


def test_a_name_has_its_answers(sam3: Path) -> None:
    masks, certainty = load_concept_segmenter(sam3, threshold=0.0)(IMAGE, "dog")
    assert masks.shape == (6, 48, 64)
    assert masks.dtype == bool
    assert certainty.shape == (6,)
    sure, _ = load_concept_segmenter(sam3, threshold=1.0)(IMAGE, "dog")
    assert sure.shape == (0, 48, 64)


def test_the_wrong_kind_of_model_is_refused(sam: Path, sam3: Path) -> None:
    with pytest.raises(IgcamError, match="must be a SAM or SAM 2 model to be prompted by points and boxes, got sam3"):
        load_point_and_box_segmenter(sam3)
    with pytest.raises(IgcamError, match="must be a SAM 3 model to be prompted by names, got sam"):
        load_concept_segmenter(sam)


def test_what_cannot_be_loaded_is_named(sam: Path, tmp_path: Path) -> None:
    with pytest.raises(IgcamError, match=r"nothing: cannot be loaded"):
        load_point_and_box_segmenter(tmp_path / "nothing")
    with pytest.raises(IgcamError, match="dtype must be float32, float16, bfloat16, got int8"):
        load_point_and_box_segmenter(sam, dtype="int8")
    with pytest.raises(IgcamError, match="cannot be loaded"):
        load_point_and_box_segmenter(sam, device="nowhere")


def test_a_missing_extra_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "transformers":
            raise ImportError(name)
        return original(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        IgcamError, match=r"^promptable segmenters need transformers: pip install 'igcam\[promptable\]'$"
    ):
        load_point_and_box_segmenter("sam")
