"""The kinds of proposals that a run can be asked for, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from igcam.proposals.colour_segments import colour_segments
from igcam.proposals.feature_clusters import feature_clusters
from igcam.proposals.feature_hierarchy import feature_hierarchy
from igcam.proposals.finer_segments import finer
from igcam.proposals.segments import Proposer
from igcam.proposals.selective_search import selective_search

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
