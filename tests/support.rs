//! What the black-box tests share: the program under test, clients, backends and real servers.
//!
//! Nothing here knows how portsplit works inside; it only starts the built binary, talks to its sockets, reads its log
//! and looks at its process in `/proc`. Everything that is started is ended by `Drop`, by its own process id.

pub mod backend;
pub mod client;
pub mod config;
pub mod log;
pub mod portsplit;
pub mod process;
pub mod rng;
pub mod schedule;
pub mod servers;
pub mod tools;

use std::io::Write;
use std::time::{Duration, Instant};

pub use backend::Backend;
pub use client::Socket;
pub use portsplit::Portsplit;

/// How long any single step of a test may take before the test fails instead of hanging.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Writes a line to the terminal even when the test runner captures the output of passing tests.
pub fn report(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Polls `condition` until it holds; fails the test with `what` when it does not within [`PATIENCE`].
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// Polls `condition` until it holds; fails the test with `what` when it does not within `limit`.
#[track_caller]
pub fn eventually_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asserts that `took` lies in `[at_least, at_most]`, both in milliseconds.
#[track_caller]
pub fn assert_took(what: &str, took: Duration, at_least: u64, at_most: u64) {
    let range = Duration::from_millis(at_least)..=Duration::from_millis(at_most);
    assert!(range.contains(&took), "{what} took {took:?}, expected {range:?}");
}
