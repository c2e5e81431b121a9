//! A stream socket, TCP or unix, with the few operations the tests need; the same type serves clients and backends.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, SockRef, Type};

use super::{PATIENCE, eventually};

/// A connected stream whose reads and writes give up after [`PATIENCE`].
pub enum Socket {
    /// Over IPv4 or IPv6.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// How a stream ended for its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer finished in order.
    Eof,
    /// The peer reset the connection.
    Reset,
}

impl Socket {
    /// Connects to `address`: `host:port` or `unix:/path`.
    pub fn try_connect(address: &str) -> io::Result<Socket> {
        let socket = match address.strip_prefix("unix:") {
            Some(path) => Socket::Unix(UnixStream::connect(path)?),
            None => Socket::Tcp(TcpStream::connect(address)?),
        };
        Ok(socket.patient())
    }

    /// Connects to `address`; fails the test when that is not possible.
    #[track_caller]
    pub fn connect(address: &str) -> Socket {
        Socket::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects to the IPv4 `address` from the local address `source`.
    #[track_caller]
    pub fn connect_from(source: &str, address: &str) -> Socket {
        let source: SocketAddr = format!("{source}:0").parse().expect("the source is an IPv4 address");
        let target: SocketAddr = address.parse().expect("the target is an IPv4 address and port");
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.bind(&SockAddr::from(source)).expect("the source address can be bound");
        socket.connect(&SockAddr::from(target)).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Socket::Tcp(socket.into()).patient()
    }

    fn patient(self) -> Socket {
        self.reads_give_up_after(PATIENCE);
        let _ = self.raw().set_write_timeout(Some(PATIENCE));
        if let Socket::Tcp(tcp) = &self {
            let _ = tcp.set_nodelay(true);
        }
        self
    }

    /// Makes reads give up after `limit`.
    pub fn reads_give_up_after(&self, limit: Duration) {
        self.raw().set_read_timeout(Some(limit)).expect("a read timeout can be set");
    }

    fn raw(&self) -> SockRef<'_> {
        match self {
            Socket::Tcp(socket) => SockRef::from(socket),
            Socket::Unix(socket) => SockRef::from(socket),
        }
    }

    /// This end's address as the program logs a peer; empty for a unix socket.
    pub fn local(&self) -> String {
        match self {
            Socket::Tcp(socket) => socket.local_addr().map(|addr| addr.to_string()).unwrap_or_default(),
            Socket::Unix(_) => String::new(),
        }
    }

    /// A second handle for another thread.
    pub fn clone(&self) -> Socket {
        match self {
            Socket::Tcp(socket) => Socket::Tcp(socket.try_clone().expect("a socket can be duplicated")),
            Socket::Unix(socket) => Socket::Unix(socket.try_clone().expect("a socket can be duplicated")),
        }
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        (&mut &*self).write_all(bytes.as_ref()).expect("the bytes can be sent");
    }

    /// Sends until nothing more fits between here and a peer that does not read; writes give up sooner from now on.
    pub fn fill(&self) {
        self.raw().set_write_timeout(Some(Duration::from_millis(300))).expect("a write timeout can be set");
        while (&mut &*self).write(&[b'x'; 65536]).is_ok() {}
    }

    /// Sends `bytes` one at a time, each in a segment of its own as far as a client can tell.
    #[track_caller]
    pub fn send_byte_by_byte(&self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
            // Until the kernel has handed the byte over, so that two never travel together.
            eventually("the byte is acknowledged", || self.unacknowledged() == 0);
        }
    }

    /// How many sent bytes the peer's kernel has not acknowledged yet.
    pub fn unacknowledged(&self) -> usize {
        let mut bytes: libc::c_int = 0;
        let fd = match self {
            Socket::Tcp(socket) => socket.as_raw_fd(),
            Socket::Unix(socket) => socket.as_raw_fd(),
        };
        #[allow(unsafe_code)]
        // SAFETY: the descriptor is open for as long as `self` is borrowed, and TIOCOUTQ writes one c_int.
        let result = unsafe { libc::ioctl(fd, libc::TIOCOUTQ, &raw mut bytes) };
        assert_eq!(result, 0, "TIOCOUTQ works on stream sockets");
        usize::try_from(bytes).unwrap_or(0)
    }

    /// Half-closes: no more bytes from this end.
    pub fn finish(&self) {
        let _ = self.raw().shutdown(Shutdown::Write);
    }

    /// Resets the connection (TCP), or just closes it (unix).
    pub fn abort(self) {
        let _ = self.raw().set_linger(Some(Duration::ZERO));
    }

    /// Makes the kernel's receive buffer small, so that a slow reader is felt soon.
    pub fn small_receive_buffer(&self) {
        let _ = self.raw().set_recv_buffer_size(16 * 1024);
    }

    /// Reads exactly `len` bytes.
    #[track_caller]
    pub fn receive(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let result = (&mut &*self).read_exact(&mut bytes);
        assert!(result.is_ok(), "cannot receive {len} bytes: {result:?}");
        bytes
    }

    /// Reads up to and including the next line end, which is left out of the result.
    #[track_caller]
    pub fn receive_line(&self) -> String {
        let mut line = Vec::new();
        loop {
            match self.receive(1).first() {
                Some(b'\n') => break,
                Some(byte) => line.push(*byte),
                None => unreachable!("receive returns what it was asked for"),
            }
        }
        String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()
    }

    /// Reads to the end, however it comes.
    #[track_caller]
    pub fn drain(&self) -> (Vec<u8>, End) {
        let mut bytes = Vec::new();
        match (&mut &*self).read_to_end(&mut bytes) {
            Ok(_) => (bytes, End::Eof),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (bytes, End::Reset),
            Err(error) => panic!("after {} bytes: neither end nor reset but {error}", bytes.len()),
        }
    }

    /// Reads to an orderly end.
    #[track_caller]
    pub fn receive_to_end(&self) -> Vec<u8> {
        let (bytes, end) = self.drain();
        assert_eq!(end, End::Eof, "the connection was reset after {} bytes", bytes.len());
        bytes
    }

    /// Reads to the end as text, however the end comes.
    #[track_caller]
    pub fn answer(&self) -> String {
        String::from_utf8_lossy(&self.drain().0).into_owned()
    }

    /// Asserts that the peer ends the connection without sending a byte; returns how long that took.
    #[track_caller]
    pub fn assert_closed_without_a_byte(&self) -> Duration {
        let started = Instant::now();
        let (bytes, _) = self.drain();
        assert!(bytes.is_empty(), "expected nothing, received {:?}", String::from_utf8_lossy(&bytes));
        started.elapsed()
    }

    /// Whether the connection is still open and silent right now.
    pub fn is_quiet(&self) -> bool {
        self.raw().set_read_timeout(Some(Duration::from_millis(1))).expect("a read timeout can be set");
        let result = match self {
            Socket::Tcp(socket) => socket.peek(&mut [0]),
            Socket::Unix(socket) => SockRef::from(socket).peek(&mut [std::mem::MaybeUninit::uninit()]),
        };
        self.reads_give_up_after(PATIENCE);
        matches!(result, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }
}

impl Read for &Socket {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&mut &*socket).read(buf),
            Socket::Unix(socket) => (&mut &*socket).read(buf),
        }
    }
}

impl Write for &Socket {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Socket::Tcp(socket) => (&mut &*socket).write(buf),
            Socket::Unix(socket) => (&mut &*socket).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Socket::Tcp(stream).patient()
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Socket::Unix(stream).patient()
    }
}
