//! Black-box tests of plugins: the built program with shipped, hostile, forgetful and example plugins.
//!
//! Run all of them with `cargo test -p portsplit --test plugins`. Missing programs and `SEED` are treated as in
//! `tests/main.rs`. What the examples need is installed by `plugins/examples/install`; a language whose compiler is
//! missing is skipped with a visible line, and fails when `PORTSPLIT_TOOLCHAINS=1` says that all of them are there.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(unreachable_pub)] // a test binary has no outside

#[allow(dead_code, unused_imports)] // the other binary of black-box tests uses the rest
mod support;

/// Each file is one promise about plugins; [`guest`](plugins::guest) makes the modules they need.
mod plugins {
    mod guest;

    mod at_load;
    mod cache;
    mod canary;
    mod detectors;
    mod failing;
    mod first_byte;
    mod hostile;
    mod languages;
    mod real_clients;
    mod reload;
    mod segments;
    mod sharing;
}
