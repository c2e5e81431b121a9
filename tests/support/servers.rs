//! Real servers for the tests, each in a folder of its own and ended with its value: OpenSSH, nginx, and what a test
//! starts itself.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::portsplit::free_port;
use super::{Socket, eventually, process, tools};

/// A running server; dropping it ends it.
pub struct Server {
    child: Child,
    dir: TempDir,
    name: &'static str,
}

impl Server {
    /// Starts `command` and waits until every port of `ports` accepts connections.
    #[track_caller]
    pub fn start(name: &'static str, dir: TempDir, mut command: Command, ports: &[u16]) -> Server {
        let output = std::fs::File::create(dir.path().join("output")).expect("an output file can be made");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let mut server = Server { child, dir, name };
        for port in ports {
            eventually(name, || {
                let ended = server.child.try_wait().expect("the server can be waited for");
                assert!(ended.is_none(), "{} ended with {ended:?}: {}", server.name, server.output());
                Socket::try_connect(&format!("127.0.0.1:{port}")).is_ok()
            });
        }
        server
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }

    fn path(&self, file: &str) -> String {
        self.dir.path().join(file).display().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        process::signal(self.child.id(), process::Signal::TERM);
        if process::wait_within(&mut self.child, Duration::from_secs(2)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.output());
        }
    }
}

/// An OpenSSH server that lets the current user in with a key made for it.
pub struct Sshd {
    server: Server,
    port: u16,
}

/// The programs [`Sshd`] needs.
pub const SSH_TOOLS: &[&str] = &["sshd", "ssh", "scp", "ssh-keygen"];

impl Sshd {
    /// Starts it on a free port of 127.0.0.1.
    #[track_caller]
    pub fn start() -> Sshd {
        if rustix::process::geteuid().is_root() {
            // The folder that sshd chroots its unprivileged part into; packages make it at boot only.
            std::fs::create_dir_all("/run/sshd").expect("/run/sshd can be made");
        }
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let path = |file: &str| dir.path().join(file).display().to_string();
        for key in ["host_key", "user_key"] {
            tools::run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]);
        }
        std::fs::copy(path("user_key.pub"), path("authorized_keys")).expect("the key can be copied");
        let port = free_port();
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n\
             Subsystem sftp internal-sftp\n",
            path("host_key"),
            path("authorized_keys")
        );
        std::fs::write(path("sshd_config"), config).expect("the configuration can be written");
        let mut command = Command::new(tools::find("sshd").expect("sshd is installed"));
        command.args(["-D", "-e", "-f", &path("sshd_config")]);
        Sshd { server: Server::start("sshd", dir, command, &[port]), port }
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The options that make ssh or scp use this server's key and nothing of the user's own.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec!["-F".into(), "/dev/null".into(), "-i".into(), self.server.path("user_key")];
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=15",
        ] {
            options.extend(["-o".into(), option.into()]);
        }
        options
    }
}

/// An nginx that answers every request with [`Nginx::BODY`], over HTTP and over TLS.
pub struct Nginx {
    server: Server,
    http: u16,
    tls: u16,
}

/// The programs [`Nginx`] needs.
pub const NGINX_TOOLS: &[&str] = &["nginx", "openssl"];

impl Nginx {
    /// What every answer consists of.
    pub const BODY: &str = "served by nginx\n";

    /// Starts it on two free ports of 127.0.0.1.
    #[track_caller]
    pub fn start() -> Nginx {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let path = |file: &str| dir.path().join(file).display().to_string();
        tools::run(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
                "-keyout",
                &path("key.pem"),
                "-out",
                &path("cert.pem"),
            ],
        );
        let (http, tls) = (free_port(), free_port());
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {};\n", path(name)))
            .concat();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {pid};\nerror_log stderr warn;\nevents {{}}\nhttp {{\n\
             access_log off;\n{temp}server {{\nlisten 127.0.0.1:{http};\nlisten 127.0.0.1:{tls} ssl;\n\
             ssl_protocols TLSv1.2 TLSv1.3;\nssl_certificate {cert};\nssl_certificate_key {key};\ndefault_type text/plain;\n\
             location / {{ return 200 \"{body}\"; }}\n}}\n}}\n",
            pid = path("nginx.pid"),
            cert = path("cert.pem"),
            key = path("key.pem"),
            body = Nginx::BODY,
        );
        std::fs::write(path("nginx.conf"), config).expect("the configuration can be written");
        let mut command = Command::new(tools::find("nginx").expect("nginx is installed"));
        command.args(["-e", "stderr", "-p", &path(""), "-c", &path("nginx.conf")]);
        Nginx { server: Server::start("nginx", dir, command, &[http, tls]), http, tls }
    }

    /// Where it speaks HTTP.
    pub fn http(&self) -> String {
        format!("127.0.0.1:{}", self.http)
    }

    /// Where it speaks TLS.
    pub fn tls(&self) -> String {
        format!("127.0.0.1:{}", self.tls)
    }

    /// The file with its certificate, which a client is to trust.
    pub fn certificate(&self) -> String {
        self.server.path("cert.pem")
    }
}
