//! `innkeeper._core`: the thin Python face of `innkeeper-core`.
