//! Compiled code on disk, so that a second start does not compile.
//!
//! A compiled file is native code that will run in this process, so a file is believed only if nobody else can have
//! written it: the directory and the file belong to us, neither is open to others, neither is a symbolic link, the
//! content has the checksum its header gives, and the engine finds that it was made by itself. Anything else is as if
//! the file were not there. The cache never fails: what cannot be read is compiled, what cannot be written is not kept.

mod code;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use wasmtime::{Engine, Module};

use crate::inspect::hex;
use crate::prepare::Preparation;

/// First bytes of every file; the last one is the version of the header.
const MAGIC: &[u8; 8] = b"portspl\x01";

/// Header: magic, how it was prepared (1 byte, padded to 8), fuel of the preparation (8), SHA-256 of what follows (32).
const HEADER_BYTES: usize = 56;

/// Files kept; past it the oldest go. A server has some ten plugins, a developer's loop makes one file a build.
const MAX_FILES: usize = 128;

/// Largest file read: the code of a 64 MiB module.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// A directory of compiled plugins.
pub(crate) struct Cache {
    dir: PathBuf,
    warned: AtomicBool,
}

/// What identifies a compiled plugin: see [`Cache::key`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

/// A compiled plugin found in the cache.
pub(crate) struct Hit {
    pub(crate) module: Module,
    pub(crate) how: Preparation,
    pub(crate) fuel: u64,
}

/// Why the directory is not used.
enum Unusable {
    Io(Errno),
    NotOurs(&'static str),
}

impl From<Errno> for Unusable {
    fn from(errno: Errno) -> Self {
        Unusable::Io(errno)
    }
}

impl Cache {
    pub(crate) fn new(dir: PathBuf) -> Cache {
        Cache { dir, warned: AtomicBool::new(false) }
    }

    /// The key of a module prepared with this configuration and memory limit, and compiled by this engine.
    pub(crate) fn key(engine: &Engine, module: &[u8; 32], config: Option<&[u8]>, memory_bytes: usize) -> Key {
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        hash.update(crate::engine::SETTINGS_VERSION.to_le_bytes());
        hash.update(env!("CARGO_PKG_VERSION"));
        std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut Feed(&mut hash));
        hash.update(module);
        hash.update((memory_bytes as u64).to_le_bytes());
        hash.update([u8::from(config.is_some())]);
        hash.update(config.unwrap_or_default());
        Key(hash.finalize().into())
    }

    /// Looks a compiled plugin up.
    pub(crate) fn load(&self, engine: &Engine, key: Key) -> Option<Hit> {
        let dir = self.open_dir()?;
        let bytes = read_trusted(&dir, &file_name(key))?;
        let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (how, fuel) = check_header(header, body)?;
        let module = code::load(engine, body)?;
        Some(Hit { module, how, fuel })
    }

    /// Keeps a compiled plugin, in place of what is there under the same key.
    pub(crate) fn store(&self, key: Key, module: &Module, how: Preparation, fuel: u64) {
        let Some(dir) = self.open_dir() else { return };
        let Ok(body) = module.serialize() else { return };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[how_to_byte(how), 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&fuel.to_le_bytes());
        bytes.extend_from_slice(&Sha256::digest(&body));
        bytes.extend_from_slice(&body);
        match replace(&dir, &file_name(key), &bytes) {
            Ok(()) => prune(&dir),
            Err(e) => tracing::debug!(dir = %self.dir.display(), error = %e, "compiled plugin not cached"),
        }
    }

    /// Opens the directory if it can be trusted, creating it when it is missing.
    fn open_dir(&self) -> Option<OwnedFd> {
        let why = match open_private_dir(&self.dir) {
            Ok(dir) => return Some(dir),
            Err(Unusable::Io(errno)) => errno.to_string(),
            Err(Unusable::NotOurs(why)) => why.to_owned(),
        };
        if !self.warned.swap(true, Ordering::Relaxed) {
            let dir = self.dir.display();
            tracing::warn!(%dir, why, "plugin cache not used; plugins are compiled at every start");
        }
        None
    }
}

/// Lets anything that can be hashed go into a SHA-256.
struct Feed<'a>(&'a mut Sha256);

impl std::hash::Hasher for Feed<'_> {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

fn file_name(key: Key) -> String {
    format!("{}.code", hex(&key.0))
}

fn how_to_byte(how: Preparation) -> u8 {
    match how {
        Preparation::Nothing => 0,
        Preparation::Snapshot => 1,
        Preparation::EveryCall => 2,
    }
}

/// What the header says, if it belongs to this version and to `body`.
fn check_header(header: &[u8; HEADER_BYTES], body: &[u8]) -> Option<(Preparation, u64)> {
    let (magic, rest) = header.split_first_chunk::<8>()?;
    let (how, rest) = rest.split_first_chunk::<8>()?;
    let (fuel, digest) = rest.split_first_chunk::<8>()?;
    let how = match how {
        [0, 0, 0, 0, 0, 0, 0, 0] => Preparation::Nothing,
        [1, 0, 0, 0, 0, 0, 0, 0] => Preparation::Snapshot,
        [2, 0, 0, 0, 0, 0, 0, 0] => Preparation::EveryCall,
        _ => return None,
    };
    let intact = magic == MAGIC && Sha256::digest(body).as_slice() == digest;
    intact.then(|| (how, u64::from_le_bytes(*fuel)))
}

fn open_private_dir(path: &Path) -> Result<OwnedFd, Unusable> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => {
            if let Some(parent) = path.parent() {
                // If this fails, creating the directory itself says why.
                let _ = std::fs::create_dir_all(parent);
            }
            match rustix::fs::mkdir(path, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
            rustix::fs::open(path, flags, Mode::empty())?
        }
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(Unusable::NotOurs("it is a symbolic link, or not a directory; remove it"));
        }
        other => other?,
    };
    let stat = rustix::fs::fstat(&dir)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Unusable::NotOurs("it belongs to another user; give each user a directory of its own"));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(Unusable::NotOurs("others may enter it; `chmod 700` it after emptying it"));
    }
    Ok(dir)
}

/// Reads a file that only we can have written.
fn read_trusted(dir: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    // A pipe put there would otherwise make the open wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    let ours = stat.st_uid == rustix::process::geteuid().as_raw();
    let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let size = u64::try_from(stat.st_size).ok()?;
    if !ours || !regular || stat.st_mode & 0o077 != 0 || size > MAX_FILE_BYTES {
        tracing::debug!(name, "cached plugin not trusted; compiling it anew");
        return None;
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    File::from(file).take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Writes a file under a temporary name and moves it into place, so that a reader sees the old one or the new one.
fn replace(dir: &OwnedFd, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let temporary = format!(".{}.{}.tmp", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A file of this name can only be left over from a process with the same id that was killed.
    let _ = rustix::fs::unlinkat(dir, temporary.as_str(), AtFlags::empty());
    let file = rustix::fs::openat(dir, temporary.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
    let written = File::from(file).write_all(bytes);
    let moved = written.and_then(|()| Ok(rustix::fs::renameat(dir, temporary.as_str(), dir, name)?));
    if moved.is_err() {
        let _ = rustix::fs::unlinkat(dir, temporary.as_str(), AtFlags::empty());
    }
    moved
}

/// Removes the oldest files when there are too many, and temporary ones that a killed process left an hour ago.
fn prune(dir: &OwnedFd) {
    let Ok(entries) = Dir::read_from(dir) else { return };
    let mut files = Vec::new();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_secs() as i64);
    for entry in entries.flatten() {
        let name = entry.file_name().to_owned();
        let Ok(stat) = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let bytes = name.to_bytes();
        if bytes.ends_with(b".code") {
            files.push((stat.st_mtime, name));
        } else if bytes.ends_with(b".tmp") && now.saturating_sub(stat.st_mtime) > 3600 {
            let _ = rustix::fs::unlinkat(dir, &name, AtFlags::empty());
        }
    }
    if files.len() > MAX_FILES {
        files.sort();
        for (_, name) in files.iter().take(files.len() - MAX_FILES) {
            let _ = rustix::fs::unlinkat(dir, name, AtFlags::empty());
        }
    }
}
