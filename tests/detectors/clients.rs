//! Every real client reaches the service of its detector, with all its bytes, among all detectors.

use std::collections::BTreeSet;
use std::sync::Mutex;

use super::client::{self, Client};
use super::gate::{Backends, detectors, start};
use super::tap::{Passed, Tap, replay};
use crate::support::report;

/// How many clients run at once: most of them wait more than they compute.
const AT_ONCE: usize = 4;

#[test]
fn every_client_reaches_its_detector_in_any_order_of_services_and_cut_of_bytes() {
    let names = detectors();
    let backends = Backends::start(&names);
    let mut services = backends.services();
    let forward = start(&services);
    services.reverse();
    let backward = start(&services);
    let clients = client::all();
    assert!(!clients.is_empty());
    for client in &clients {
        assert!(names.contains(&client.plugin), "{}: there is no plugin `{}`", client.name, client.plugin);
    }
    let (queue, failures, known) = (Mutex::new(clients.iter()), Mutex::new(Vec::new()), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(client) = next else { break };
                    match judge(client, forward.address(), backward.address()) {
                        Ok(true) => drop(known.lock().unwrap().insert(client.plugin.as_str())),
                        Ok(false) => {}
                        Err(failure) => failures.lock().unwrap().push(format!("{}: {failure}", client.name)),
                    }
                }
            });
        }
    });
    let (failures, known) = (failures.into_inner().unwrap(), known.into_inner().unwrap());
    report(&format!("real clients of {} of {} protocols reached their service", known.len(), names.len()));
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_list_of_clients_covers_at_least_25_protocols() {
    if std::env::var_os("CLIENTS").is_none() {
        let plugins: BTreeSet<String> = client::all().into_iter().map(|client| client.plugin).collect();
        assert!(plugins.len() >= 25, "{plugins:?}");
    }
}

/// Whether the client was there to be tried; an error says what went wrong.
fn judge(client: &Client, forward: &str, backward: &str) -> Result<bool, String> {
    if !client.is_installed() {
        return Ok(false);
    }
    let tap = Tap::new();
    let run = || {
        let mut running = client.start(tap.port());
        tap.pass(forward, || running.may_connect()).ok_or_else(|| running.output())
    };
    // A client that sends nothing shows nothing about us: some fail to begin once in a while.
    let passed = run().or_else(|said| {
        report(&format!("{} sent nothing and is started again; it said: {said}", client.name));
        run().map_err(|said| format!("sent nothing; it said: {said}"))
    })?;
    expect(client, &passed, "the first order")?;
    expect(client, &replay(&passed.sent, backward), "the other order, byte by byte,")?;
    Ok(true)
}

fn expect(client: &Client, passed: &Passed, order: &str) -> Result<(), String> {
    if passed.tag() == Some(&client.plugin) && passed.is_complete() {
        return Ok(());
    }
    let sent = passed.sent.escape_ascii();
    Err(format!("in {order} it reached {:?}, not `{}`, with {sent}", passed.tag(), client.plugin))
}
