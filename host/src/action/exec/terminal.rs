//! The pseudo-terminal of a program: opened and set up, and how a half-close is said through it.
//!
//! A terminal is not a clean pipe, and is not meant to be: it edits lines, turns the program's `\n` into `\r\n`, and
//! control characters from the client act (`^C` interrupts). A line of more than 4095 bytes is cut by the kernel. A
//! program that wants bytes as they are switches its terminal to raw mode, as pppd does, or runs on pipes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};

use crate::config::Pty;

/// The size every program starts with: that of the terminal all others imitate. A client has no way to tell its own.
const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// Opens a terminal: the master, non-blocking, for us, and the slave for the program. Both are close-on-exec.
///
/// The kernel's default modes hold, except that nothing is echoed unless `pty` asks for it: the client at the other
/// end of a socket usually shows what it sends itself.
pub(super) fn open(pty: Pty) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    // Opens the slave without its name, so it needs no /dev/pts here.
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    let mut modes = tcgetattr(&slave)?;
    modes.local_modes.set(LocalModes::ECHO, pty.echo);
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    tcsetwinsize(&slave, SIZE)?;
    rustix::io::ioctl_fionbio(&master, true)?;
    Ok((master, slave))
}

/// Returns what to write to a terminal's master to say that the client has half-closed; `last` is the last byte that
/// was written to it before.
///
/// A terminal cannot be half-closed, but in its normal (canonical) mode the end-of-file character, `^D` unless the
/// program changed it, does the same: the program's read returns 0. That holds at the start of a line only; after half
/// a line the first one just delivers that half, so then it is sent twice. In raw mode the character would be data, and
/// nothing stands for an end: the answer is empty, the program goes on, and the relay's half-close timeout limits it.
/// The modes are those at this moment: a program that switches later reads the character as it comes.
pub fn pty_end_of_input(master: impl AsFd, last: Option<u8>) -> Vec<u8> {
    // On the master this answers for the slave. It fails when the slave is gone, and then nobody reads any more.
    let Ok(modes) = tcgetattr(master) else {
        return Vec::new();
    };
    let end = modes.special_codes[SpecialCodeIndex::VEOF];
    // A special character of 0 is switched off.
    if end == 0 || !modes.local_modes.contains(LocalModes::ICANON) {
        return Vec::new();
    }
    let at_line_start = match last {
        None | Some(b'\n') => true,
        Some(b'\r') => modes.input_modes.contains(InputModes::ICRNL),
        Some(byte) => byte == end,
    };
    if at_line_start { vec![end] } else { vec![end, end] }
}
