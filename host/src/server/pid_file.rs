//! The file that tells other programs our process id, locked while we run and removed in the end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

/// A pid file that we hold; dropping it removes the file.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Writes our process id to `path`, replacing what a process that runs no more has left there.
    ///
    /// # Errors
    /// Fails if another process holds the file, or if `path` is a link or no regular file.
    pub(crate) fn create(path: &Path) -> io::Result<PidFile> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(io::Error::other("it is a link or not a regular file; choose another path"));
        }
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut owner = String::new();
            file.take(20).read_to_string(&mut owner)?;
            return Err(io::Error::other(format!("process {} holds it and still runs", owner.trim())));
        }
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())?;
        Ok(PidFile { path: std::path::absolute(path)?, file })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let same = |ours: &fs::Metadata, there: &fs::Metadata| ours.ino() == there.ino() && ours.dev() == there.dev();
        if let (Ok(ours), Ok(there)) = (self.file.metadata(), fs::symlink_metadata(&self.path))
            && same(&ours, &there)
        {
            // Without the right to remove it, the next start finds it unlocked and takes it over.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_stale_file_is_replaced_and_ours_is_removed_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        fs::write(&path, "99999999\nrubbish").unwrap();
        let held = PidFile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_held_is_refused_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let _held = PidFile::create(&path).unwrap();
        let error = PidFile::create(&path).unwrap_err().to_string();
        assert_eq!(error, format!("process {} holds it and still runs", std::process::id()));
    }

    #[test]
    fn links_and_folders_are_refused_and_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link, hard) = (folder.path().join("t"), folder.path().join("l"), folder.path().join("h"));
        fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        fs::hard_link(&target, &hard).unwrap();
        for path in [&link, &hard, &folder.path().to_owned()] {
            assert!(PidFile::create(path).is_err(), "{}", path.display());
        }
        assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
    }
}
