"""Sequences of images -> a video file. What the frames show is decided elsewhere."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from torch import Tensor

from fastgan.errors import ConfigError
from fastgan.files import replacing
from fastgan.synthesis.images import to_pillow


def has_mp4() -> bool:
    """Whether this installation can write mp4 files (the extra `fastgan[demo]`)."""
    return importlib.util.find_spec("imageio_ffmpeg") is not None


def write_video(path: str | os.PathLike[str], frames: Tensor, fps: int = 30) -> Path:
    """Write frames as .mp4 (H.264, needs imageio-ffmpeg) or as an endless .gif, atomically.

    Args:
        path: the file; its suffix chooses the format. Without imageio-ffmpeg an .mp4 becomes a
            .gif of the same name.
        frames: uint8 [F, H, W, C], C 1 or 3. H.264 needs even sides: an odd one loses its last
            row or column.
        fps: frames per second, 1 to 60.

    Returns: the path that was written.
    Raises: ConfigError for another suffix, shape or rate; OSError when it cannot be written.
    """
    target = Path(path)
    if target.suffix not in (".mp4", ".gif") or not 1 <= fps <= 60:
        raise ConfigError(f"write_video: expected .mp4 or .gif, 1-60 fps; got {target}, {fps} fps")
    if frames.ndim != 4 or len(frames) == 0 or frames.shape[3] not in (1, 3):
        raise ConfigError(f"write_video: expected [F, H, W, 1 or 3], got {tuple(frames.shape)}")
    if target.suffix == ".mp4" and not has_mp4():
        target = target.with_suffix(".gif")
    write = _write_mp4 if target.suffix == ".mp4" else _write_gif
    with replacing(target) as temporary:
        write(temporary, frames, fps)
    return target


def _write_mp4(path: Path, frames: Tensor, fps: int) -> None:
    from imageio_ffmpeg import write_frames  # optional: an extra

    height, width = (side // 2 * 2 for side in frames.shape[1:3])
    frames = frames[:, :height, :width].expand(-1, -1, -1, 3).contiguous()
    writer = write_frames(
        str(path), (width, height), fps=fps, quality=8, macro_block_size=2, ffmpeg_log_level="error"
    )
    writer.send(None)  # starts the encoder
    for frame in frames:
        writer.send(frame.numpy())
    writer.close()


def _write_gif(path: Path, frames: Tensor, fps: int) -> None:
    first, *rest = [to_pillow(frame) for frame in frames]
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=1000 / fps, loop=0)
