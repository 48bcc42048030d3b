"""Draws the same image from the tenth of the triangles that can colour a pixel (``sight``).

Mesa's llvmpipe lights every vertex of every mesh on the processor, seen or not, and that is most of
what a LIBERO image costs. For a mesh that lies still before a camera a second display list is made,
of the triangles in sight alone, and drawn in place of the whole one for as long as it lies still.
Meshes that move are drawn whole, or not at all when their box is outside the image.

Non-obvious: this is for software rendering only, and for scenes whose lights cast no shadows
(LIBERO's do not); elsewhere robosuite draws as always. One flat box or plane may reflect the scene,
as LIBERO's stove does: what it mirrors counts as seen.
"""

import weakref
from dataclasses import dataclass
from functools import partial
from typing import Any

import mujoco
import numpy as np
from OpenGL import GL

from wmvla.sim.libero.fast.sight import Mirror, View, boxes_in_sight, faces_in_sight

STILL = 2e-4
"""A mesh lies still while none of its points has moved further than this (m)."""
STILL_ANGLE = 5e-3
"""And while it has not turned further (Frobenius norm of the change of its rotation matrix)."""
WORTHWHILE = 100
"""Triangles below which a mesh is drawn whole."""
SOFTWARE = b"llvmpipe"
OPAQUE = 0.995
"""From this alpha on MuJoCo draws a geom as opaque, and lets it reflect."""
NOTHING = -1
"""A mesh number that MuJoCo does not draw."""


@dataclass
class _Seen:
    """What one camera knows of the N meshes: poses at its last image, poses for which a list was
    made, and the lists.

    ``lists``: numbers relative to MuJoCo's first mesh list; 0 for none, ``NOTHING`` where no
    triangle is in sight. ``mirror``: corners of the reflecting surface for which the lists were
    made; what it shows moves far when it turns a little.
    """

    last: np.ndarray
    made: np.ndarray
    lists: np.ndarray
    mirror: np.ndarray


class Drawing:
    """Takes the place of ``render`` of one robosuite ``MjRenderContext``, whose GL context is
    current.

    Lists belong to the render context: a hard reset makes a new one, and with it a new ``Drawing``.
    """

    def __init__(self, context: Any) -> None:
        # Weakly, or the context would be freed while another one is current.
        self._context = weakref.proxy(context)
        self._draw_whole = partial(type(context).render, self._context)
        model = self._model = context.model._model
        shown = np.array([bool(context.vopt.geomgroup[group]) for group in model.geom_group])
        self._geoms = np.flatnonzero(shown & (model.geom_type == mujoco.mjtGeom.mjGEOM_MESH))
        self._place = {int(geom): place for place, geom in enumerate(self._geoms)}
        self._bound = model.geom_rbound[self._geoms]
        self._box_corners = _box_corners(model.geom_aabb[self._geoms])
        self._worthwhile = model.mesh_facenum[model.geom_dataid[self._geoms]] >= WORTHWHILE
        self._meshes: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._samples = _sample_positions(context.con.offSamples)
        self._lattice = _lattice(self._samples)
        self._cameras: dict[int, _Seen] = {}
        context.render = self.render

    def render(
        self, width: int, height: int, camera_id: int | None = None, segmentation: bool = False
    ) -> None:
        """As robosuite's: draw what camera ``camera_id`` sees into the context's buffer."""
        context, model = self._context, self._model
        larger = width > context.con.offWidth or height > context.con.offHeight
        other = larger or segmentation
        if camera_id is None or camera_id < 0 or other or model.cam_sensorsize[camera_id].any():
            return self._draw_whole(width, height, camera_id, segmentation)
        scene, data = context.scn, context.data._data
        context.cam.type, context.cam.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, camera_id
        mujoco.mjv_updateScene(
            model, data, context.vopt, context.pert, context.cam, mujoco.mjtCatBit.mjCAT_ALL, scene
        )
        if not any(scene.lights[light].castshadow for light in range(scene.nlight)):
            self._choose(camera_id, (width, height))
        mujoco.mjr_render(mujoco.MjrRect(0, 0, width, height), scene, context.con)

    def _choose(self, camera: int, size: tuple[int, int]) -> None:
        """Give each mesh of the scene the list that is to be drawn."""
        model, data, scene = self._model, self._context.data._data, self._context.scn
        near = model.vis.map.znear * model.stat.extent
        slope = np.tan(np.deg2rad(model.cam_fovy[camera]) / 2)
        view = View(slope, size, near, self._samples, self._lattice)
        towards, origin = data.cam_xmat[camera].reshape(3, 3).T, data.cam_xpos[camera]
        poses = np.empty((len(self._geoms), 3, 4))
        poses[..., :3] = towards @ data.geom_xmat[self._geoms].reshape(-1, 3, 3)
        poses[..., 3] = (data.geom_xpos[self._geoms] - origin) @ towards.T
        places = _places_in_scene(scene)
        mirror, finite = self._mirror(view, towards, origin)
        if not finite:
            return
        mirror_pose = np.zeros((4, 3)) if mirror is None else mirror.corners
        seen = self._cameras.get(camera)
        if seen is None or not np.array_equal(seen.mirror, mirror_pose):
            seen = self._cameras[camera] = self._nothing_known(seen, poses, mirror_pose)
        turned = np.einsum("nij,ncj->nci", poses[..., :3], self._box_corners)
        visible = boxes_in_sight(view, turned + poses[:, None, :, 3], mirror)
        made = self._still(poses, seen.made)
        wanted = visible & ~made & self._still(poses, seen.last) & self._worthwhile
        for place in np.flatnonzero(wanted):
            old = int(seen.lists[place])
            seen.lists[place] = self._make_list(int(place), view, poses[place], mirror, old)
            seen.made[place], made[place] = poses[place], True
        seen.last = poses
        for index, geom in places.items():
            place = self._place.get(geom)
            if place is None:
                continue
            if not visible[place]:
                scene.geoms[index].dataid = NOTHING
            elif made[place]:
                scene.geoms[index].dataid = seen.lists[place]

    def _still(self, poses: np.ndarray, before: np.ndarray) -> np.ndarray:
        turned = np.linalg.norm(poses[..., :3] - before[..., :3], axis=(1, 2))
        moved = np.linalg.norm(poses[..., 3] - before[..., 3], axis=1) + turned * self._bound
        return (moved < STILL) & (turned < STILL_ANGLE)

    def _nothing_known(self, seen: _Seen | None, poses: np.ndarray, mirror: np.ndarray) -> _Seen:
        if seen is not None:
            for number in seen.lists[seen.lists > 0]:
                GL.glDeleteLists(int(number) + self._context.con.baseMesh, 2)
        nowhere = np.full_like(poses, np.inf)
        return _Seen(nowhere, nowhere.copy(), np.zeros(len(poses), np.int64), mirror)

    def _mirror(
        self, view: View, towards: np.ndarray, origin: np.ndarray
    ) -> tuple[Mirror | None, bool]:
        """The surface that MuJoCo will let reflect, in the camera's frame; False without edges.

        Non-obvious: MuJoCo draws the whole scene a second time for a mirror that is not even in the
        image. Such a mirror is made dull, and with it those behind it in the list, which MuJoCo
        does not let reflect either.
        """
        scene = self._context.scn
        flat = (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_BOX)
        if not scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION]:
            return None, True
        geoms = [scene.geoms[index] for index in range(scene.ngeom)]
        shiny = [geom for geom in geoms if geom.reflectance > 0]
        first = next((geom for geom in shiny if geom.type in flat and geom.rgba[3] >= OPAQUE), None)
        if first is None:
            return None, True
        size, turn = first.size.astype(np.float64), first.mat.astype(np.float64).reshape(3, 3)
        if size[0] <= 0 or size[1] <= 0:
            return None, False
        if first.type == mujoco.mjtGeom.mjGEOM_PLANE:
            size[2] = 0.0
        local = _box_corners(np.array([[0, 0, 0, *size]]))[0]
        box = (local @ turn.T + first.pos - origin) @ towards.T
        if not boxes_in_sight(view, box[None])[0]:
            for geom in shiny:
                geom.reflectance = 0
            return None, True
        signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
        edges = [[x * size[0], y * size[1], size[2]] for x, y in signs]
        corners = (np.array(edges) @ turn.T + first.pos - origin) @ towards.T
        return Mirror(corners[0], towards @ turn[:, 2], corners), True

    def _make_list(
        self, place: int, view: View, pose: np.ndarray, mirror: Mirror | None, old: int
    ) -> int:
        """The number of a display list of the mesh's triangles in sight."""
        model, base = self._model, self._context.con.baseMesh
        mesh = model.geom_dataid[self._geoms[place]]
        first = model.mesh_faceadr[mesh]
        points, faces = self._mesh(int(mesh))
        pose = pose.astype(np.float32)
        kept = faces_in_sight(view, pose[:, :3] @ points + pose[:, 3:], faces, STILL, mirror)
        if old > 0:
            GL.glDeleteLists(old + base, 2)
        if not len(kept):
            return NOTHING
        number = int(GL.glGenLists(2))
        self._compile(int(mesh), first + kept, number)
        return number - base

    def _mesh(self, mesh: int) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (3, V) float32 and the triangles' corners (3, F)."""
        if mesh not in self._meshes:
            model = self._model
            points = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
            faces = model.mesh_face[model.mesh_faceadr[mesh] :][: model.mesh_facenum[mesh]]
            self._meshes[mesh] = (
                np.ascontiguousarray(points.T, np.float32),
                np.ascontiguousarray(faces.T, np.intp),
            )
        return self._meshes[mesh]

    def _compile(self, mesh: int, faces: np.ndarray, number: int) -> None:
        """Let MuJoCo itself make the list (and the hull's, the next) of these faces alone."""
        model, context = self._model, self._context.con
        base, first, count = context.baseMesh, model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
        indices = [model.mesh_face, model.mesh_facenormal, model.mesh_facetexcoord]
        indices = [array for array in indices if len(array) >= first + count]
        whole = [array[first : first + count].copy() for array in indices]
        try:
            for array in indices:
                array[first : first + len(faces)] = array[faces]
            model.mesh_facenum[mesh] = len(faces)
            context.baseMesh = number - 2 * mesh
            mujoco.mjr_uploadMesh(model, context, mesh)
        finally:
            context.baseMesh, model.mesh_facenum[mesh] = base, count
            for array, values in zip(indices, whole, strict=True):
                array[first : first + count] = values


def draws_in_software() -> bool:
    """Whether the current GL context is Mesa's software rasteriser."""
    return SOFTWARE in GL.glGetString(GL.GL_RENDERER)


def _sample_positions(samples: int) -> np.ndarray:
    """Where the current framebuffer samples colour inside a pixel, (S, 2), either way up."""
    if samples <= 1:
        return np.array([[0.5, 0.5]])
    positions = (GL.glGetMultisamplefv(GL.GL_SAMPLE_POSITION, index) for index in range(samples))
    found = np.array(list(positions), dtype=np.float64)
    return np.unique(np.concatenate([found, found * [1, -1] + [0, 1]]), axis=0)


def _lattice(samples: np.ndarray) -> int:
    """The n for which all samples of a pixel lie on rows and columns at (k + 1/2) / n."""
    return next(count for count in (1, 2, 4, 8, 16, 32) if np.allclose(samples * count % 1, 0.5))


def _box_corners(boxes: np.ndarray) -> np.ndarray:
    """Corners (N, 8, 3) of boxes (N, 6), centre and half sizes, a millimetre and 1 % larger."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return boxes[:, None, :3] + signs * (boxes[:, None, 3:] * 1.01 + 1e-3)


def _places_in_scene(scene: Any) -> dict[int, int]:
    """Geoms of the model among the scene's: model's number by scene's place."""
    kinds = ((index, scene.geoms[index]) for index in range(scene.ngeom))
    return {index: geom.objid for index, geom in kinds if geom.objtype == mujoco.mjtObj.mjOBJ_GEOM}
