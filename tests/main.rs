//! Black-box tests: they start the built program, real clients and real servers, and look only from outside.
//!
//! Run all of them with `cargo test -p portsplit --test integration`; `tests/install` installs the programs they use.
//! A test whose program is missing prints `skipped: ...` and passes, but fails when `CI=true`. A random test prints
//! `SEED=n` and repeats that run when the environment holds the same `SEED`. `PORTSPLIT=/path/to/portsplit` tests
//! another build of the program than the one cargo has just made.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a test fails by panicking
#![allow(unreachable_pub)] // a test binary has no outside

mod support;

mod cli;
mod connect;
mod deciding;
mod exec_action;
mod life;
mod limits;
mod listeners;
mod logs;
mod real_clients;
mod relay;
mod reload;
mod reset;
mod shipped;
mod silent;
mod soak;
mod sockets;
mod splice;
