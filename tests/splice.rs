//! Splicing as the kernel allows it: where it does not, at once or in the middle, bytes are copied and nobody notices.

use crate::support::backend::pattern;
use crate::support::config::all_to_with;
use crate::support::process::{self, Proc};
use crate::support::{Backend, Portsplit, eventually, tools};

const BYTES: usize = 2_000_000;

/// A tracer that makes system calls of a running program fail, until this is dropped.
struct Tracer(std::process::Child);

impl Tracer {
    /// Attaches to all threads of `process` and does what `inject` says, in the words of strace.
    fn attach(process: Proc, inject: &str) -> Tracer {
        let call = inject.split(':').next().unwrap();
        let mut command = tools::quiet("strace");
        command.args(["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={inject}"), "-p", &process.0.to_string()]);
        let tracer = Tracer(command.spawn().unwrap());
        eventually("every thread is traced", || {
            process.threads().into_iter().all(|thread| !["", "0"].contains(&&*thread.status("TracerPid")))
        });
        tracer
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        process::signal(self.0.id(), process::Signal::TERM);
        let _ = self.0.wait();
    }
}

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
