//! What the cross-crate tests share. The README's Rust example is compiled and run here.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

pub mod audit;
pub mod cohort;
