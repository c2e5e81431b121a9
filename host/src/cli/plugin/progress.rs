//! A sign of life on standard error while something takes long.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::cli::say;

/// After this long a person wonders.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does `work`, and says what is being done if that takes more than a second.
pub(super) fn announced<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = mpsc::channel::<()>();
    let what = what.to_owned();
    thread::scope(|scope| {
        scope.spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                say(&format!("{what} ..."));
            }
        });
        let result = work();
        drop(done);
        result
    })
}
