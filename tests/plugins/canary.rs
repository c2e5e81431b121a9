//! Nothing of one connection reaches another: thousands of secrets go through a plugin that tries to keep them.

use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::guest::{Modules, from_file, start};
use crate::support::config::{LISTEN, service, to};
use crate::support::rng::Rng;
use crate::support::{Backend, Socket, report};

const CONNECTIONS: usize = 10_000;
const AT_MOST: Duration = Duration::from_secs(600);

/// Sends a secret in two pieces and returns everything that came back.
fn carry(address: &str, secret: &[u8], first: usize) -> std::io::Result<Vec<u8>> {
    let client = Socket::try_connect(address)?;
    client.send(&secret[..first]);
    if first.is_multiple_of(2) {
        // Half of the connections let the first piece arrive by itself, and so have two calls.
        while client.unacknowledged() > 0 {
            std::thread::yield_now();
        }
    }
    client.send(&secret[first..]);
    client.finish();
    let mut got = Vec::new();
    (&mut &client).read_to_end(&mut got)?;
    Ok(got)
}

#[test]
fn no_secret_of_a_connection_comes_out_of_another() {
    let modules = Modules::with("remember", &from_file("remember"));
    let (leaked, fresh, missed) = (Backend::tag("leaked"), Backend::tag("fresh"), Backend::tag("fallback"));
    let portsplit = start(&format!(
        "{}{LISTEN}{}{}{}",
        modules.key(),
        to(&leaked, "leaked", "plugin = \"remember\"\nwhere = { seen = \"leaked\" }"),
        to(&fresh, "fresh", "plugin = \"remember\"\nwhere = { seen = \"fresh\" }"),
        service("fallback", "", &format!("connect = \"{}\"", missed.address())),
    ));
    let (seed, _) = Rng::from_env("no_secret_of_a_connection_comes_out_of_another");
    let (next, done, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CONNECTIONS || began.elapsed() > AT_MOST {
                        return;
                    }
                    let mut rng = Rng::new(seed.wrapping_add(number as u64));
                    let secret = format!("K{:016x}{:016x}", rng.word(), rng.word()).into_bytes();
                    let got = carry(portsplit.address(), &secret, rng.below(secret.len()));
                    let wanted = [b"fresh\n", secret.as_slice()].concat();
                    match got {
                        Ok(got) if got == wanted => _ = done.fetch_add(1, Ordering::Relaxed),
                        Ok(got) => wrong.lock().unwrap().push(String::from_utf8_lossy(&got).into_owned()),
                        Err(error) => wrong.lock().unwrap().push(error.to_string()),
                    }
                }
            });
        }
    });
    let (done, wrong) = (done.into_inner(), wrong.into_inner().unwrap());
    report(&format!("{done} connections with secrets through one plugin in {:.1} s", began.elapsed().as_secs_f64()));
    assert!(wrong.is_empty(), "{} were answered wrongly, the first: {}", wrong.len(), wrong[0]);
    assert_eq!(done, CONNECTIONS, "in {AT_MOST:?}");
    assert_eq!((leaked.accepted(), missed.accepted()), (0, 0));
    let failures = portsplit.log().count(|line| line.message() == "a plugin has failed");
    assert_eq!(failures, 0, "{}", portsplit.log().text());
}
