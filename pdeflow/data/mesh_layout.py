"""The HDF5 layout of samples on meshes of their own, which The Well's layout has no place for.

========================================  ========================================================
root attributes                           ``layout`` ("pdeflow meshes 1"), ``dataset_name``, ``n_samples``,
                                          ``fields``, ``constant_fields`` (names), ``metadata_crc32``, others
``/mesh/positions``                       (nodes of all samples, 2) float64
``/mesh/boundary``                        (nodes,) int8, see :data:`~pdeflow.triangle_mesh.BOUNDARY_PARTS`
``/mesh/triangles``                       (triangles of all samples, 3) int32, node numbers within the sample
``/mesh/node_offsets``                    (samples + 1,) int64: where the nodes of each sample begin
``/mesh/triangle_offsets``                (samples + 1,) int64
``/nodes/NAME``                           (nodes,) a field, or a constant field (a coefficient)
``/scalars/NAME``, ``/generation/NAME``   (samples,) numbers of the sample, and of its making
========================================  ========================================================
"""

from __future__ import annotations

LAYOUT = "pdeflow meshes 1"
MESH, NODES, SCALARS, GENERATION = "mesh", "nodes", "scalars", "generation"
OFFSETS = ("node_offsets", "triangle_offsets")
OWN_ATTRIBUTES = ("layout", "dataset_name", "n_samples", "fields", "constant_fields")
