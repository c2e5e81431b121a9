//! Black-box tests of the shipped detectors: the built program with a service for each of them, and real clients.
//!
//! Run all of them with `cargo test -p portsplit --test detectors`. `CLIENTS=dig,redis-cli` runs only these of
//! `tests/detectors/clients.toml`; `PLUGINS=FOLDER` takes the modules from a folder instead of the program. Missing
//! programs are treated as in `tests/main.rs`; `tests/install` installs them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(unreachable_pub)] // a test binary has no outside

#[allow(dead_code, unused_imports)] // the other binaries of black-box tests use the rest
mod support;

/// `clients` sends what real clients send first through one port and looks where it arrives; `exchanges` has clients
/// and servers talk through that port.
mod detectors {
    mod client;
    mod gate;
    mod tap;

    mod clients;
    mod exchanges;
}
