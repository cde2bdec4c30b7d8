"""What the tests of the command line share."""

import cv2
import numpy as np

FRAMES = 8  # of the small video


def read_video(path):
    """All frames of a video, RGB."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1][:, :, ::-1])
    return np.array(frames)
