//! From the file to a valid [`Config`]: reads, resolves every part, and collects all that is wrong.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::error::{ConfigErrors, Problem, Reporter};
use super::raw::RawConfig;
use super::services::{PlacedAction, Services};
use super::settings::Settings;
use super::{Action, Config, Service, address, identity, lint, listeners};
use crate::log;

/// The largest file that is read: a slip such as `/dev/zero` must end. A thousand services take about 200 KiB.
const MAX_FILE_BYTES: u64 = 4 << 20;

impl Config {
    /// Reads and checks the configuration file at `path`.
    ///
    /// Relative paths in it start in the folder of the file.
    ///
    /// # Errors
    /// Everything that is wrong with the file, in its order; also that it cannot be read.
    pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
        Self::load_with_warnings(path).map(|(config, _)| config)
    }

    /// As [`Config::load`], with what is allowed but hardly meant.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_with_warnings(path: &Path) -> Result<(Config, Vec<Problem>), ConfigErrors> {
        let bytes = match read_limited(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let mut reporter = Reporter::new(path, String::new());
                let refused = reporter.error_in_file(format!("this file cannot be read: {}", log::explained(&error)));
                if Errno::from_io_error(&error) != Some(Errno::MFILE) {
                    refused.help_with("name another one with `--config`");
                }
                return reporter.into_errors();
            }
        };
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let mut reporter = Reporter::new(path, String::new());
            reporter.error_in_file(format!("this file has more than {MAX_FILE_BYTES} bytes"));
            return reporter.into_errors();
        }
        match String::from_utf8(bytes) {
            Ok(text) => {
                let mut reporter = Reporter::new(path, text);
                lint::lint_permissions(path, &mut reporter);
                resolve(path, reporter)
            }
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let mut reporter = Reporter::new(path, lossy);
                let error = reporter.error(at..at + char::REPLACEMENT_CHARACTER.len_utf8(), "this is not UTF-8 text");
                error.help_with("save the file as UTF-8; bytes in patterns are written as `\\xNN`");
                reporter.into_errors()
            }
        }
    }

    /// Checks a configuration that is already in memory; `path` names it and gives the folder of relative paths.
    ///
    /// # Errors
    /// Everything that is wrong with the text, in its order.
    pub fn parse(path: &Path, text: &str) -> Result<(Config, Vec<Problem>), ConfigErrors> {
        resolve(path, Reporter::new(path, text.to_owned()))
    }
}

fn resolve(path: &Path, mut reporter: Reporter) -> Result<(Config, Vec<Problem>), ConfigErrors> {
    let Some(raw) = RawConfig::read(&mut reporter) else {
        return reporter.into_errors();
    };
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let settings = Settings::resolve(&raw, &mut reporter);
    let services = Services::resolve(&raw, &folder, &mut reporter);
    let listeners = listeners::resolve(&raw, &services, &folder, &mut reporter);
    let identity = identity::resolve(raw.user.as_ref(), raw.group.as_ref(), &mut reporter);
    let pid_file = pid_file(&raw, &folder, &mut reporter);
    if !reporter.has_errors() {
        lint::lint(&services, &listeners, settings.max_first_flight_bytes, &mut reporter);
    }
    let warnings = reporter.finish()?;
    let listeners = listeners.into_iter().map(|listener| listener.finish(&services)).collect();
    let action = |placed: Option<PlacedAction>| placed.map_or(Action::Close, |placed| placed.action);
    let named =
        services.ordinary.into_iter().map(|service| Service { name: service.name, action: service.action.action });
    let config = Config {
        path: path.to_path_buf(),
        listeners,
        services: named.collect(),
        fallback: action(services.fallback),
        timeout: action(services.timeout),
        decide_timeout: settings.decide_timeout,
        max_first_flight_bytes: settings.max_first_flight_bytes,
        limits: settings.limits,
        connect_timeout: settings.connect_timeout,
        idle_timeout: settings.idle_timeout,
        half_close_timeout: settings.half_close_timeout,
        splice: settings.splice,
        drain_timeout: settings.drain_timeout,
        workers: settings.workers,
        pid_file,
        identity,
        log: settings.log,
    };
    Ok((config, warnings))
}

fn pid_file(raw: &RawConfig, folder: &Path, reporter: &mut Reporter) -> Option<PathBuf> {
    let path = raw.pid_file.as_ref()?;
    if path.get_ref().is_empty() || path.get_ref().ends_with('/') || path.get_ref().contains('\0') {
        let error = reporter.error(path.span(), "`pid_file` is not the path of a file");
        error.help_with("write one, such as \"/run/portsplit.pid\"");
        return None;
    }
    Some(address::absolute(path.get_ref(), folder))
}

/// Reads a file up to one byte past the limit.
fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
