//! Small servers in threads, one handler per connection, over TCP or a unix socket.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};
use tempfile::TempDir;

use super::Socket;

/// A server that lives as long as this value.
pub struct Backend {
    address: String,
    shared: Arc<Shared>,
    _dir: Option<TempDir>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    accepted: AtomicUsize,
    open: AtomicUsize,
}

impl Backend {
    /// Serves `handler` on a free TCP port of 127.0.0.1.
    pub fn tcp(handler: impl Fn(Socket) + Send + Sync + 'static) -> Backend {
        Backend::tcp_on("127.0.0.1:0", handler)
    }

    /// Serves `handler` on the TCP address `address`.
    #[track_caller]
    pub fn tcp_on(address: &str, handler: impl Fn(Socket) + Send + Sync + 'static) -> Backend {
        let listener = TcpListener::bind(address).unwrap_or_else(|error| panic!("cannot bind {address}: {error}"));
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let accept = move || listener.accept().map(|(stream, _)| Socket::from(stream));
        Backend::serve(address, None, accept, handler)
    }

    /// Serves `handler` on a unix socket in a folder of its own.
    pub fn unix(handler: impl Fn(Socket) + Send + Sync + 'static) -> Backend {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let path = dir.path().join("backend.sock");
        let listener = UnixListener::bind(&path).expect("a unix socket can be bound");
        let accept = move || listener.accept().map(|(stream, _)| Socket::from(stream));
        Backend::serve(format!("unix:{}", path.display()), Some(dir), accept, handler)
    }

    fn serve(
        address: String,
        dir: Option<TempDir>,
        accept: impl Fn() -> std::io::Result<Socket> + Send + 'static,
        handler: impl Fn(Socket) + Send + Sync + 'static,
    ) -> Backend {
        let shared = Arc::new(Shared::default());
        let handler = Arc::new(handler);
        let for_thread = shared.clone();
        std::thread::spawn(move || {
            loop {
                let accepted = accept();
                if for_thread.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(socket) = accepted else {
                    // Out of descriptors, most likely; the test that caused it will say so.
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                for_thread.accepted.fetch_add(1, Ordering::SeqCst);
                for_thread.open.fetch_add(1, Ordering::SeqCst);
                let (handler, shared) = (handler.clone(), for_thread.clone());
                std::thread::spawn(move || {
                    let _open = Open(&shared.open);
                    handler(socket);
                });
            }
        });
        Backend { address, shared, _dir: dir }
    }

    /// Sends `name` and a line end at once, then everything back that arrives, and finishes when the client does.
    /// A client therefore learns which service it reached and exactly which bytes were passed on.
    pub fn tag(name: &'static str) -> Backend {
        Backend::tcp(tag_handler(name))
    }

    /// [`Backend::tag`] over a unix socket.
    pub fn tag_unix(name: &'static str) -> Backend {
        Backend::unix(tag_handler(name))
    }

    /// Sends everything back, and finishes when the client does.
    pub fn echo() -> Backend {
        Backend::tcp(echo)
    }

    /// Sends `len` bytes of [`pattern`] and finishes; reads until the client finishes.
    pub fn source(len: usize) -> Backend {
        Backend::tcp(move |socket| {
            let _ = (&mut &socket).write_all(&pattern(len));
            socket.finish();
            discard(&socket);
        })
    }

    /// Where it listens, as a `connect` value and as a client wants it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("the backend is on a TCP port")
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many of its connections are open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees the flag and drops the listener.
        let _ = Socket::try_connect(&self.address);
    }
}

struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tag_handler(name: &'static str) -> impl Fn(Socket) + Send + Sync + 'static {
    move |socket| {
        if (&mut &socket).write_all(format!("{name}\n").as_bytes()).is_ok() {
            echo(socket);
        }
    }
}

/// Sends everything back until the client finishes or is gone.
pub fn echo(socket: Socket) {
    let mut buf = vec![0; 64 * 1024];
    while let Ok(len) = (&mut &socket).read(&mut buf) {
        if len == 0 || (&mut &socket).write_all(&buf[..len]).is_err() {
            break;
        }
    }
    socket.finish();
}

/// Reads until the client finishes or is gone, and returns how many bytes came.
pub fn discard(socket: &Socket) -> usize {
    let mut buf = vec![0; 64 * 1024];
    let mut total = 0;
    while let Ok(len) = (&mut &*socket).read(&mut buf) {
        if len == 0 {
            break;
        }
        total += len;
    }
    total
}

/// `len` bytes in which every position can be told from its neighbours, the same each time.
pub fn pattern(len: usize) -> Vec<u8> {
    super::rng::Rng::new(0x7061_7474).bytes(len)
}

/// A TCP port of 127.0.0.1 that nobody listens on, and that is not handed out while this value lives.
pub struct Refused(socket2::Socket);

impl Refused {
    /// Reserves such a port.
    pub fn new() -> Refused {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
        socket.bind(&SockAddr::from(any)).expect("a free port can be bound");
        Refused(socket)
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        let addr = self.0.local_addr().expect("a bound socket has an address");
        addr.as_socket().expect("it is an internet address").to_string()
    }
}

/// A TCP port whose queue of unaccepted connections is full: connecting to it neither succeeds nor fails.
pub struct Blackhole {
    listener: socket2::Socket,
    _queued: Vec<socket2::Socket>,
}

impl Blackhole {
    /// Binds such a port and fills its queue.
    pub fn new() -> Blackhole {
        let listener = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&SockAddr::from(any)).expect("a free port can be bound");
        listener.listen(0).expect("the socket can listen");
        let target = listener.local_addr().expect("a bound socket has an address");
        let mut queued = Vec::new();
        for _ in 0..8 {
            let client = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
            let connected = client.connect_timeout(&target, Duration::from_millis(150));
            queued.push(client);
            if connected.is_err() {
                return Blackhole { listener, _queued: queued };
            }
        }
        panic!("a queue of length 0 took 8 connections");
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        let addr = self.listener.local_addr().expect("a bound socket has an address");
        addr.as_socket().expect("it is an internet address").to_string()
    }
}
