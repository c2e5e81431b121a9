//! Everything at once for some seconds: what comes back is exact, and nothing is left when it is over.
//!
//! `SOAK=600` lets the connections of `every_way_of_moving_bytes_is_exact` go on for that many seconds, in all.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::config::{service, to};
use crate::support::portsplit::free_port;
use crate::support::rng::Rng;
use crate::support::schedule::{Tally, play, player};
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

#[test]
fn every_way_of_moving_bytes_is_exact() {
    let (seed, _) = Rng::from_env("every_way_of_moving_bytes");
    let lasts = match std::env::var("SOAK") {
        Ok(seconds) => Duration::from_secs(seconds.parse().expect("SOAK is a number of seconds")),
        Err(_) => LASTS,
    };
    for way in ["auto", "always", "never"] {
        let tally = Tally::default();
        let (tcp, unix) = (Backend::tcp(player(seed, tally.clone())), Backend::unix(player(seed, tally.clone())));
        let dir = tempfile::tempdir().unwrap();
        let listen = format!("listen = [\"127.0.0.1:0\", \"unix:{}/s\"]\n", dir.path().display());
        let services = [to(&tcp, "tcp", "prefix = 't'"), to(&unix, "unix", "prefix = 'u'")].concat();
        // Without this a hang would end in silence after an hour.
        let limits = "idle_timeout = \"15s\"\nhalf_close_timeout = \"15s\"\n";
        let portsplit =
            Portsplit::start_logging("json", "info", &format!("splice = \"{way}\"\n{limits}{listen}{services}"));
        let process = portsplit.process();
        let baseline = process.fds();
        let (mut number, started) = (0, Instant::now());
        let tally = &tally;
        let goes_on = move |_| started.elapsed() < lasts / 3 && tally.failures().is_empty();
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..2)
                .flat_map(|listener| ['t', 'u'].map(|letter| (portsplit.nth_address(listener), letter)))
                .map(|(address, letter)| scope.spawn(move || play(seed, address, letter, 0, goes_on, tally)))
                .collect();
            number = all.into_iter().map(|played| played.join().unwrap() as usize).sum();
        });
        let failures = tally.failures();
        assert!(
            failures.is_empty(),
            "{way}, SEED={seed}: {} of {number} failed: {:?}",
            failures.len(),
            failures.first()
        );
        eventually("the backends have played every schedule", || tally.played() == 2 * number);
        portsplit.assert_back_to(baseline);
        let pipes = process.own_pipes();
        assert!(pipes <= 16 * std::thread::available_parallelism().unwrap().get(), "{pipes} pipes are kept");
        assert_eq!(pipes > 0, way != "never", "{way}: {pipes} pipes are kept");
        report(&format!("splice = \"{way}\": {number} connections in {:?}, {pipes} pipes kept", started.elapsed()));
        portsplit.stop();
    }
}
