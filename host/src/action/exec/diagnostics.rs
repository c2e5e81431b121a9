//! What a program writes to stderr: read by a small task, turned into log lines.
//!
//! The program, or a client through it, chooses these bytes, so they are never shown as they are: a line is escaped
//! and cut, and only so many lines a second are logged. What is too much is read and dropped, and counted in the log:
//! stderr never stops a program. The task ends with stderr or with the [`Collector`], whichever is first, so that it
//! cannot outlive a connection; what is already in the pipe at that moment is still logged.

use std::fmt::Write;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

/// Bytes of a line that are kept. A line of a log should fit on a screen or two.
const LINE_MAX: usize = 1024;

/// Lines that one program may log at once: a usage message or a stack trace.
const BURST_LINES: u32 = 40;

/// After the burst, one line is allowed per this time.
const LINE_INTERVAL: Duration = Duration::from_millis(200);

/// Bytes read at once.
const READ_MAX: usize = 4096;

/// Bytes read at most after the program has ended: what a pipe holds.
const TAIL_MAX: usize = 64 * 1024;

/// Keeps the task that logs stderr alive.
#[derive(Debug)]
pub(super) struct Collector(#[expect(dead_code, reason = "its drop is what counts")] oneshot::Sender<()>);

/// Starts to log what is read from `stderr`, which must be non-blocking.
///
/// # Errors
/// The runtime does not take the descriptor.
pub(super) fn log(stderr: OwnedFd, service: &str, pid: u32) -> io::Result<Collector> {
    let stderr = crate::sys::register(stderr, Interest::READABLE)?;
    let (collector, ended) = oneshot::channel();
    let log = Log { service: service.to_owned(), pid, lines: Lines::new(Instant::now()) };
    tokio::spawn(collect(stderr, ended, log));
    Ok(Collector(collector))
}

async fn collect(stderr: AsyncFd<OwnedFd>, mut ended: oneshot::Receiver<()>, mut log: Log) {
    loop {
        tokio::select! {
            biased;
            _ = &mut ended => {
                let mut tail = 0;
                while let Ok(count @ 1..) = log.read(stderr.get_ref()) {
                    tail += count;
                    if tail >= TAIL_MAX {
                        break;
                    }
                }
                break;
            }
            ready = stderr.readable() => {
                let Ok(mut ready) = ready else { break };
                match ready.try_io(|stderr| log.read(stderr.get_ref())) {
                    Ok(Ok(1..)) | Err(_) => {}
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(Ok(0) | Err(_)) => break,
                }
            }
        }
    }
    log.finish();
}

/// Where the lines of one program go.
struct Log {
    service: String,
    pid: u32,
    lines: Lines,
}

impl Log {
    fn read(&mut self, stderr: &OwnedFd) -> io::Result<usize> {
        let mut buffer = [0; READ_MAX];
        let count = rustix::io::read(stderr, &mut buffer)?;
        let (service, pid) = (self.service.as_str(), self.pid);
        self.lines.push(buffer.get(..count).unwrap_or_default(), Instant::now(), |entry| write(service, pid, entry));
        Ok(count)
    }

    fn finish(mut self) {
        let (service, pid) = (self.service.as_str(), self.pid);
        self.lines.finish(Instant::now(), |entry| write(service, pid, entry));
    }
}

fn write(service: &str, pid: u32, entry: Entry) {
    match entry {
        Entry::Line(line) => tracing::info!(service, pid, line, "the program wrote to stderr"),
        Entry::Dropped(lines) => tracing::warn!(service, pid, lines, "the program wrote more to stderr than is logged"),
    }
}

/// One thing to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A line, escaped; `...` at its end says that it was cut.
    Line(String),
    /// So many lines were too many.
    Dropped(u64),
}

/// Cuts a stream of bytes into lines and decides which are logged. Reads no clock.
#[derive(Debug)]
pub(super) struct Lines {
    partial: Vec<u8>,
    is_cut: bool,
    allowed: u32,
    refilled: Instant,
    dropped: u64,
}

impl Lines {
    pub(super) fn new(now: Instant) -> Self {
        Self { partial: Vec::new(), is_cut: false, allowed: BURST_LINES, refilled: now, dropped: 0 }
    }

    /// Takes the next bytes and gives out the lines that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8], now: Instant, mut give: impl FnMut(Entry)) {
        while let Some((line, rest)) = split_once(bytes, b'\n') {
            self.extend(line);
            self.end_line(now, &mut give);
            bytes = rest;
        }
        self.extend(bytes);
    }

    /// Gives out what is left.
    pub(super) fn finish(&mut self, now: Instant, mut give: impl FnMut(Entry)) {
        self.end_line(now, &mut give);
        if self.dropped > 0 {
            give(Entry::Dropped(std::mem::take(&mut self.dropped)));
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_MAX - self.partial.len().min(LINE_MAX);
        self.is_cut |= bytes.len() > room;
        self.partial.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn end_line(&mut self, now: Instant, give: &mut impl FnMut(Entry)) {
        if !matches!(self.partial.as_slice(), b"" | b"\r") {
            if self.allow(now) {
                if self.dropped > 0 {
                    give(Entry::Dropped(std::mem::take(&mut self.dropped)));
                }
                let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
                give(Entry::Line(escape(line, self.is_cut)));
            } else {
                self.dropped += 1;
            }
        }
        self.partial.clear();
        self.is_cut = false;
    }

    /// Takes one line from the allowance, if there is one.
    fn allow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_millis() / LINE_INTERVAL.as_millis();
        if passed > 0 {
            let more = u32::try_from(passed).unwrap_or(u32::MAX);
            self.allowed = self.allowed.saturating_add(more).min(BURST_LINES);
            self.refilled = now;
        }
        let allowed = self.allowed > 0;
        self.allowed = self.allowed.saturating_sub(1);
        allowed
    }
}

fn split_once(bytes: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let position = bytes.iter().position(|&byte| byte == separator)?;
    Some((bytes.get(..position)?, bytes.get(position + 1..)?))
}

/// Shows text as it is, and what is invisible, a control character or not UTF-8 in its escaped form.
fn escape(line: &[u8], is_cut: bool) -> String {
    let mut shown = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' | '\'' => shown.push(character),
                _ => shown.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    if is_cut {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<Entry> {
        let now = Instant::now();
        let (mut lines, mut entries) = (Lines::new(now), Vec::new());
        for piece in pieces {
            lines.push(piece, now, |entry| entries.push(entry));
        }
        lines.finish(now, |entry| entries.push(entry));
        entries
    }

    fn line(text: &str) -> Entry {
        Entry::Line(text.to_owned())
    }

    #[test]
    fn lines_do_not_depend_on_how_reads_cut_them() {
        let text = b"first\r\n\n\r\nsecond line\nthird";
        let expected = [line("first"), line("second line"), line("third")];
        for cut in 0..=text.len() {
            let (head, tail) = text.split_at(cut);
            assert_eq!(lines_of(&[head, tail]), expected, "cut at {cut}");
        }
    }

    #[test]
    fn control_characters_and_broken_utf8_are_shown_escaped() {
        assert_eq!(lines_of(&[b"\x1b[2J\ta\x00b\x07\xff\xc3\n"]), [line(r"\u{1b}[2J\ta\0b\u{7}\xff\xc3")]);
        assert_eq!(
            lines_of(&["it's \"f\u{fc}nf\" \\ \u{202e}x".as_bytes()]),
            [line("it's \"f\u{fc}nf\" \\\\ \\u{202e}x")]
        );
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let longest = vec![b'x'; LINE_MAX];
        assert_eq!(lines_of(&[&longest, b"\n"]), [line(&"x".repeat(LINE_MAX))]);
        let expected = format!("{}...", "x".repeat(LINE_MAX));
        assert_eq!(lines_of(&[&longest, b"y", b"z\nnext\n"]), [line(&expected), line("next")]);
    }

    #[test]
    fn memory_for_a_line_without_an_end_is_bounded() {
        let mut lines = Lines::new(Instant::now());
        for _ in 0..1000 {
            lines.push(&[b'x'; READ_MAX], Instant::now(), |_| panic!("no line has ended"));
        }
        assert!(lines.partial.capacity() <= 2 * LINE_MAX, "{}", lines.partial.capacity());
    }

    #[test]
    fn lines_past_the_burst_are_dropped_counted_and_allowed_again_later() {
        let start = Instant::now();
        let (mut lines, mut entries) = (Lines::new(start), Vec::new());
        let many = b"a line\n".repeat(BURST_LINES as usize + 7);
        lines.push(&many, start, |entry| entries.push(entry));
        assert_eq!(entries, vec![line("a line"); BURST_LINES as usize]);

        entries.clear();
        lines.push(b"too early\n", start + LINE_INTERVAL / 2, |entry| entries.push(entry));
        assert_eq!(entries, []);
        lines.push(b"later\nand too much\n", start + LINE_INTERVAL, |entry| entries.push(entry));
        assert_eq!(entries, [Entry::Dropped(8), line("later")]);

        entries.clear();
        lines.finish(start + LINE_INTERVAL, |entry| entries.push(entry));
        assert_eq!(entries, [Entry::Dropped(1)]);
    }
}
