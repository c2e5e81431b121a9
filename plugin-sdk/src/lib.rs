//! Placeholder, replaced by the commits that follow.
