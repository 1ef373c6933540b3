//! What the cross-crate tests share: vectors, statistics with stated false-alarm probabilities.
