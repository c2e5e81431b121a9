//! Looks up the ids of `user` and `group`.
//!
//! It happens when the file is read, so that a name that does not exist is an error of the file; changing the ids is
//! the server's business.

use nix::unistd::{Group, User};
use toml::Spanned;

use super::Identity;
use super::error::{Reporter, printable};

/// Resolves both names; what does not exist is reported and left out.
pub(super) fn resolve(
    user: Option<&Spanned<String>>,
    group: Option<&Spanned<String>>,
    reporter: &mut Reporter,
) -> Identity {
    let mut identity = Identity::default();
    if let Some(name) = user
        && let Some(account) = look_up("user", name, find_user, reporter)
    {
        identity.user = Some((account.name.clone(), account.uid.as_raw()));
        let primary = Group::from_gid(account.gid).ok().flatten();
        let group_name = primary.map_or_else(|| account.gid.to_string(), |group| group.name);
        identity.group = Some((group_name, account.gid.as_raw()));
    }
    if let Some(name) = group
        && let Some(group) = look_up("group", name, find_group, reporter)
    {
        identity.group = Some((group.name, group.gid.as_raw()));
    }
    identity
}

fn look_up<T>(
    key: &str,
    name: &Spanned<String>,
    find: impl Fn(&str) -> nix::Result<Option<T>>,
    reporter: &mut Reporter,
) -> Option<T> {
    let shown = printable(name.get_ref());
    match find(name.get_ref()) {
        Ok(Some(found)) => Some(found),
        Ok(None) => {
            let error = reporter.error(name.span(), format!("there is no {key} `{shown}` on this machine"));
            error.help_with(format!("create it, or name another {key}"));
            None
        }
        Err(errno) => {
            reporter.error(name.span(), format!("{key} `{shown}` could not be looked up: {}", errno.desc()));
            None
        }
    }
}

/// Finds a user by name, or by number if no name is like it.
fn find_user(name: &str) -> nix::Result<Option<User>> {
    match (User::from_name(name), name.parse::<u32>()) {
        (Ok(None), Ok(id)) => User::from_uid(id.into()),
        (found, _) => found,
    }
}

/// Finds a group by name, or by number if no name is like it.
fn find_group(name: &str) -> nix::Result<Option<Group>> {
    match (Group::from_name(name), name.parse::<u32>()) {
        (Ok(None), Ok(id)) => Group::from_gid(id.into()),
        (found, _) => found,
    }
}
