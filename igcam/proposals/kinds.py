"""The kinds of proposals that a run can be asked for, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from igcam.proposals.colour_graph import colour_segments
from igcam.proposals.finer_segments import finer
from igcam.proposals.hierarchies import feature_hierarchy, selective_search
from igcam.proposals.segments import Proposer
from igcam.proposals.spectral import feature_clusters

KINDS: Mapping[str, Proposer] = MappingProxyType(
    {
        "colour-segments": colour_segments,
        "selective-search": selective_search,
        "feature-clusters": feature_clusters,
        "feature-hierarchy": feature_hierarchy,
        "feature-clusters-finer": finer(feature_clusters),
        "feature-hierarchy-finer": finer(feature_hierarchy),
    }
)
"""Those that need nothing but the photo and the features of the run's network."""
