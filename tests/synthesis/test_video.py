"""Video files."""

import pytest
import torch
from PIL import Image

from fastgan.errors import ConfigError
from fastgan.synthesis import video


def frames(channels=3):
    levels = torch.tensor([0, 120, 250], dtype=torch.uint8)
    return levels[:, None, None, None].expand(3, 33, 48, channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_gif_holds_every_frame_and_repeats(tmp_path, channels):
    path = video.write_video(tmp_path / "walk.gif", frames(channels), fps=10)
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.size, picture.info["loop"]) == (3, (48, 33), 0)
        assert picture.info["duration"] == 100
        for index, level in enumerate((0, 120, 250)):
            picture.seek(index)
            assert picture.convert("L").getpixel((5, 5)) == pytest.approx(level, abs=1)


@pytest.mark.parametrize("channels", [1, 3])
def test_mp4_decodes_to_the_frames(tmp_path, channels):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="needs fastgan[demo]")
    path = video.write_video(tmp_path / "walk.mp4", frames(channels), fps=10)
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    assert (facts["size"], facts["fps"]) == ((48, 32), 10)
    means = [sum(frame) / len(frame) for frame in reader]
    assert means == pytest.approx([0, 120, 250], abs=6)
    assert [file.name for file in tmp_path.iterdir()] == ["walk.mp4"]


def test_mp4_becomes_gif_without_the_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "has_mp4", lambda: False)
    path = video.write_video(tmp_path / "walk.mp4", frames())
    assert path.name == "walk.gif"
    assert path.is_file()


def test_write_video_refuses_what_it_cannot_encode(tmp_path):
    for name, clip, fps in (
        ("a.avi", frames(), 30),
        ("a.gif", frames(), 0),
        ("a.gif", frames()[:0], 30),
        ("a.gif", frames(4), 30),
    ):
        with pytest.raises(ConfigError, match="write_video"):
            video.write_video(tmp_path / name, clip, fps)
    assert list(tmp_path.iterdir()) == []
