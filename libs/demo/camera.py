"""A phone camera: a sheet on a table becomes a photograph."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from libs.demo.difficulty import Difficulty, Range
from libs.demo.tables import table_top

_FOCAL = 1.25
"""Focal length in widths of the photograph: the main camera of a phone."""

_ROOM = 0.02
"""Least distance of the sheet from the photograph's edge, as a share of its width."""


@dataclass(frozen=True, eq=False)
class Pose:
    """Where the sheet lies.

    Args:
        width_px: of the photograph.
        height_px: of the photograph.
        homography_33: from pixels of the sheet to pixels of the photograph, both counted from the upper left edge.
    """

    width_px: int
    height_px: int
    homography_33: NDArray[np.float64]

    def project(self, points_N2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of the sheet as points of the photograph."""
        rays = np.c_[points_N2, np.ones(len(points_N2))] @ self.homography_33.T
        projected: NDArray[np.float64] = rays[:, :2] / rays[:, 2:]
        return projected


def draw_pose(
    rng: np.random.Generator, difficulty: Difficulty, *, photo_width_px: int, sheet_width_px: float, sheet_size_px: tuple[int, int]
) -> Pose:
    """Lay the sheet on the table before a pinhole camera.

    Args:
        rng: the only source of chance.
        difficulty: ranges of tilt and roll.
        photo_width_px: of the photograph; its height is three quarters of it.
        sheet_width_px: about what the sheet shall measure in it; less where it would not fit.
        sheet_size_px: width and height the sheet was drawn at.
    """
    width, height = photo_width_px, round(photo_width_px * 0.75)
    sheet_width, sheet_height = sheet_size_px
    around_x, around_y = (np.radians(_signed(rng, difficulty.tilt_deg)) for _ in range(2))
    roll = np.radians(_signed(rng, difficulty.roll_deg))
    turn = (
        cv2.Rodrigues(np.array([around_x, 0, 0]))[0]
        @ cv2.Rodrigues(np.array([0, around_y, 0]))[0]
        @ cv2.Rodrigues(np.array([0, 0, roll]))[0]
    )
    focal = _FOCAL * width
    corners_42 = np.array([[0, 0], [sheet_width, 0], [sheet_width, sheet_height], [0, sheet_height]], np.float64)
    centre = np.array([[1, 0, -sheet_width / 2], [0, 1, -sheet_height / 2], [0, 0, 1]])
    lens = np.diag([focal, focal, 1.0])
    # Without a lens shift the sheet stands about the origin; the distance is right for a sheet that is not tilted.
    distance = focal * sheet_width / sheet_width_px
    flat = lens @ np.c_[turn[:, :2], [0, 0, distance]] @ centre
    outline = Pose(width, height, flat).project(corners_42)
    low, high = outline.min(axis=0), outline.max(axis=0)
    edge = _ROOM * width
    shrink = float(min(1.0, *((np.array([width, height]) - 2 * edge) / (high - low))))
    free = np.array([width, height]) - 2 * edge - (high - low) * shrink
    shift = edge - low * shrink + free * rng.uniform(0.15, 0.85, 2)
    place = np.array([[shrink, 0, shift[0]], [0, shrink, shift[1]], [0, 0, 1]])
    return Pose(width, height, place @ flat)


def photograph(sheet_HW3: NDArray[np.uint8], pose: Pose, rng: np.random.Generator, difficulty: Difficulty) -> NDArray[np.uint8]:
    """Take the picture.

    Args:
        sheet_HW3: uint8; the colour order is kept.
        pose: where the sheet lies.
        rng: the only source of chance.
        difficulty: ranges of light, blur and noise.

    Returns:
        uint8 (height, width, 3), before the file is compressed.
    """
    scene = _lay_on_table(sheet_HW3, pose, rng)
    scene *= _light(pose, rng, difficulty)[..., None]
    scene = _blur(scene, rng, difficulty)
    warmth, green = rng.uniform(-0.05, 0.05), rng.uniform(-0.015, 0.015)
    scene *= np.array([1 + warmth, 1 + green, 1 - warmth], np.float32)
    level = float(rng.uniform(*difficulty.noise_levels))
    shape = scene.shape[:2]
    grain_HW = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 0.6) * 1.6
    # Shot noise grows with the root of the light.
    scene += (grain_HW * level * np.sqrt(np.clip(scene[..., 1], 4, 255) / 128))[..., None]
    return np.clip(scene, 0, 255, out=scene).astype(np.uint8)


def _signed(rng: np.random.Generator, bounds: Range) -> float:
    return float(rng.uniform(*bounds)) * (1.0 if rng.random() < 0.5 else -1.0)


def _lay_on_table(sheet_HW3: NDArray[np.uint8], pose: Pose, rng: np.random.Generator) -> NDArray[np.float32]:
    size = (pose.width_px, pose.height_px)
    # OpenCV counts from the middle of the first pixel, a pose from its edge.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    centres_33 = np.linalg.inv(half) @ pose.homography_33 @ half
    printed = cv2.warpPerspective(sheet_HW3, centres_33, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    solid = np.full(sheet_HW3.shape[:2], 255, np.uint8)
    cover_HW = cv2.warpPerspective(solid, centres_33, size, flags=cv2.INTER_LINEAR).astype(np.float32) / 255
    table = table_top(rng, width_px=pose.width_px, height_px=pose.height_px)
    drop = pose.width_px * rng.uniform(0.002, 0.008)
    # The shadow under the sheet is soft: a quarter of the resolution is enough.
    small_HW = cv2.resize(cover_HW, (pose.width_px // 4, pose.height_px // 4), interpolation=cv2.INTER_AREA)
    offset = np.array([[1, 0, _signed(rng, (drop, drop)) / 4], [0, 1, drop / 4]], np.float64)
    shade_HW = cv2.GaussianBlur(cv2.warpAffine(small_HW, offset, (small_HW.shape[1], small_HW.shape[0])), (0, 0), float(drop / 4))
    shade_HW = cv2.resize(1 - float(rng.uniform(0.35, 0.6)) * np.asarray(shade_HW, np.float32), size, interpolation=cv2.INTER_LINEAR)
    table *= shade_HW[..., None]
    scene: NDArray[np.float32] = printed.astype(np.float32)
    scene -= table
    scene *= cover_HW[..., None]
    scene += table
    return scene


def _light(pose: Pose, rng: np.random.Generator, difficulty: Difficulty) -> NDArray[np.float32]:
    """Uneven light and perhaps the soft shadow of a hand or the phone, computed small and enlarged."""
    width, height = pose.width_px // 8, pose.height_px // 8
    y_HW, x_HW = np.mgrid[0:height, 0:width].astype(np.float32) / width
    angle = rng.uniform(0, 2 * np.pi)
    slope_HW = np.cos(angle) * x_HW + np.sin(angle) * y_HW
    slope_HW = (slope_HW - slope_HW.min()) / (slope_HW.max() - slope_HW.min())
    light_HW = (1.08 - float(rng.uniform(*difficulty.light_drop)) * slope_HW).astype(np.float32)
    if rng.random() < difficulty.shadow_chance:
        # A hand or the phone comes in from an edge: a blunt shape whose tip lies in the picture.
        tip, side = rng.uniform(0.2, 0.8, 2) * (width, height), rng.uniform(0, 2 * np.pi)
        away, across = np.array([np.cos(side), np.sin(side)]), np.array([-np.sin(side), np.cos(side)])
        half = width * rng.uniform(0.12, 0.3)
        outline_N2 = [
            tip + across * half,
            tip - across * half,
            tip - across * half * 1.6 + away * 2 * width,
            tip + across * half * 1.6 + away * 2 * width,
        ]
        shadow_HW = np.zeros((height, width), np.float32)
        cv2.fillConvexPoly(shadow_HW, np.round(outline_N2).astype(np.int32), 1.0)
        soft_HW = cv2.GaussianBlur(shadow_HW, (0, 0), float(width * rng.uniform(0.02, 0.07)))
        light_HW *= 1 - float(rng.uniform(*difficulty.shadow_depth)) * soft_HW
    return np.asarray(cv2.resize(light_HW, (pose.width_px, pose.height_px), interpolation=cv2.INTER_LINEAR), np.float32)


def _blur(scene: NDArray[np.float32], rng: np.random.Generator, difficulty: Difficulty) -> NDArray[np.float32]:
    blurred = cv2.GaussianBlur(scene, (0, 0), float(rng.uniform(*difficulty.defocus_sigma_px)))
    length, angle = float(rng.uniform(*difficulty.motion_px)), rng.uniform(0, np.pi)
    if length >= 1.0:
        size = 2 * int(np.ceil(length / 2)) + 3
        kernel = np.zeros((size * 8, size * 8), np.float32)
        reach, middle = length * 4 * np.array([np.cos(angle), np.sin(angle)]), size * 4
        ends = [(int(middle + sign * reach[0]), int(middle + sign * reach[1])) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 8)
        small = cv2.resize(kernel, (size, size), interpolation=cv2.INTER_AREA)
        blurred = cv2.filter2D(blurred, -1, small / small.sum())
    return np.asarray(blurred, np.float32)
