"""Sizes at which a training step is measured, ours (training.py) and the original's (original_training.py)."""

PARTS = ("encode", "forward", "backward", "optimizer")
WIDTHS = (64, 128, 256, 256)
UNET = {"block_out_channels": WIDTHS, "cross_attention_dim": 64}
VAE = {"layers_per_block": 2, "latent_channels": 4, "norm_num_groups": 32, "scaling_factor": 0.18215}
VAE_WIDTHS = (32, 64, 128, 128)
CLIP = {
    "hidden_size": 192,
    "intermediate_size": 768,
    "num_hidden_layers": 6,
    "num_attention_heads": 3,
    "image_size": 224,
    "patch_size": 16,
    "projection_dim": 64,
    "layer_norm_eps": 1e-5,
}
SIDE_BATCH_FRAMES = {"stage1": (256, 2, 1), "stage2": (128, 1, 16), "stage2+": (128, 1, 16)}
