//! Splicing as the kernel allows it: where it does not, at once or in the middle, bytes are copied and nobody notices.

use crate::support::backend::pattern;
use crate::support::config::all_to_with;
use crate::support::process::Tracer;
use crate::support::{Backend, Portsplit, tools};

const BYTES: usize = 2_000_000;

/// Sends bytes through an echoing backend while the system calls named by `inject` fail, and expects them all back.
fn relays_although(inject: &str) {
    let backend = Backend::echo();
    for way in ["auto", "always"] {
        let portsplit = Portsplit::start(&all_to_with(&format!("workers = 1\nsplice = \"{way}\""), &backend));
        let _tracer = Tracer::attach(portsplit.process(), inject);
        let sent = [b">", &pattern(BYTES)[..]].concat();
        for _ in 0..3 {
            let client = portsplit.client();
            let got = std::thread::scope(|scope| {
                let reader = scope.spawn(|| client.receive_to_end());
                client.send(&sent);
                client.finish();
                reader.join().unwrap()
            });
            assert!(got == sent, "{inject}, {way}: {} bytes came back for {}", got.len(), sent.len());
            let line = portsplit.connection_of(&client.local());
            let counted = (line.number("bytes_in"), line.number("bytes_out"));
            assert_eq!(counted, (sent.len() as u64, sent.len() as u64), "{inject}, {way}: {}", line.text());
        }
        // A pipe that was good for nothing is closed.
        assert!(inject.contains("when") || portsplit.process().own_pipes() == 0, "{inject}, {way}");
    }
}

#[test]
fn a_kernel_that_does_not_splice_is_no_hindrance() {
    if !tools::have(&["strace"]) {
        return;
    }
    for error in ["EINVAL", "ENOSYS", "EPERM"] {
        relays_although(&format!("splice:error={error}"));
    }
    // The first calls work, so that bytes are in a pipe when the target refuses them.
    for calls in [4, 5] {
        relays_although(&format!("splice:error=EINVAL:when={calls}+"));
    }
}

#[test]
fn pipes_that_are_not_to_be_had_or_too_small_are_no_hindrance() {
    if !tools::have(&["strace"]) {
        return;
    }
    // What sets and tells the size of a pipe is refused, or says that it is small.
    for inject in ["pipe2:error=EMFILE", "fcntl:error=EPERM", "fcntl:retval=4096"] {
        relays_although(inject);
    }
}
