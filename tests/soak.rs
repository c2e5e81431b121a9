//! Everything at once for some seconds: what comes back is exact, and nothing is left when it is over.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::config::{service, to};
use crate::support::portsplit::free_port;
use crate::support::rng::Rng;
use crate::support::{Backend, Portsplit, Socket, eventually, report};

const LASTS: Duration = Duration::from_secs(8);

/// Sends `prefix` and random bytes, finishes, and reports whether exactly these came back.
fn echo_is_exact(socket: &Socket, prefix: &str, rng: &mut Rng) -> Result<(), String> {
    let len = 1 + rng.below(100_000);
    let sent = [prefix.as_bytes(), &rng.bytes(len)].concat();
    let got = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut got = Vec::new();
            (&mut &*socket).read_to_end(&mut got).map(|_| got)
        });
        let written = (&mut &*socket).write_all(&sent);
        socket.finish();
        written.and(reader.join().expect("the reader does not panic"))
    });
    match got {
        Ok(got) if got == sent => Ok(()),
        Ok(got) => Err(format!("{} bytes came back for {} to `{prefix}`", got.len(), sent.len())),
        Err(error) => Err(format!("`{prefix}`: {error}")),
    }
}

/// One random client; an error is a broken promise.
fn act(addresses: &[String], rng: &mut Rng) -> Result<(), String> {
    let socket = Socket::try_connect(&addresses[rng.below(addresses.len())]).map_err(|error| error.to_string())?;
    match rng.below(9) {
        0..=2 => echo_is_exact(&socket, "tcp ", rng)?,
        3 => echo_is_exact(&socket, "unix ", rng)?,
        4 => echo_is_exact(&socket, "exec ", rng)?,
        // Cut off at every stage; nothing is promised to these.
        5 => socket.abort(),
        6 => {
            let first = ["t", "tcp ", "unix", "exec ", "junk"][rng.below(5)];
            let _ = (&mut &socket).write_all(first.as_bytes());
            let more = if rng.one_in(2) { rng.below(3000) } else { 0 };
            let _ = (&mut &socket).write_all(&rng.bytes(more));
            socket.abort();
        }
        7 => drop(socket),
        _ => {
            let _ = (&mut &socket).write_all(b"down ");
            let _ = (&mut &socket).read(&mut [0; 16]);
        }
    }
    Ok(())
}

#[test]
fn a_mixed_load_with_reloads_is_exact_and_leaves_nothing_behind() {
    let (seed, mut rng) = Rng::from_env("a_mixed_load_with_reloads");
    let (tcp, unix) = (Backend::echo(), Backend::unix(crate::support::backend::echo));
    let down = crate::support::backend::Refused::new();
    let port = free_port();
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("listen = [\"127.0.0.1:{port}\", \"[::1]:{port}\", \"unix:{}/s\"]\n", dir.path().display());
    let config = [
        "timeout = \"400ms\"\n".to_owned(),
        listen,
        to(&tcp, "tcp", "prefix = 'tcp '"),
        to(&unix, "unix", "regex = '^unix '"),
        service("exec", "prefix = 'exec '", "exec = [\"cat\"]"),
        service("down", "prefix = 'down '", &format!("connect = \"{}\"", down.address())),
        service("timeout", "", "exec = [\"cat\"]"),
    ]
    .concat();
    let portsplit = Portsplit::start(&config);
    let addresses: Vec<String> = (0..3).map(|listener| portsplit.nth_address(listener).to_owned()).collect();
    let mut warm_up = Rng::new(1);
    for _ in 0..200 {
        act(&addresses, &mut warm_up).expect("the warm-up works");
    }
    eventually("the warm-up is over", || portsplit.log().count(|line| line.message() == "connection") == 200);
    let (fds, rss) = (portsplit.process().fds(), portsplit.process().rss_kib());
    let (over, acts) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            let mut rng = Rng::new(rng.word());
            let (addresses, over, acts, failures) = (&addresses, &over, &acts, &failures);
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    if let Err(failure) = act(addresses, &mut rng) {
                        failures.lock().unwrap().push(failure);
                    }
                    acts.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let started = Instant::now();
        while started.elapsed() < LASTS {
            let text = if rng.one_in(4) { "broken = [" } else { &config };
            portsplit.reload(text);
            std::thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::SeqCst);
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "SEED={seed}: {} failures: {:?}", failures.len(), failures.first());
    portsplit.assert_back_to(fds);
    let grown = portsplit.process().rss_kib().saturating_sub(rss);
    report(&format!("mixed load: {} connections in {LASTS:?}, {grown} KiB more afterwards", acts.into_inner()));
    assert!(grown <= 4096, "{grown} KiB more afterwards");
    let defects = portsplit.log().count(|line| line.text().contains("defect") || line.text().contains("panick"));
    assert_eq!(defects, 0, "{}", portsplit.log().text());
    portsplit.stop();
}
