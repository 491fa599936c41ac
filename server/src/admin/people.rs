//! Names of the system's users and groups, read from its files.
//!
//! The files are read each time: an admin command is rare, and the names may change. Users that
//! come from elsewhere (LDAP) have no line in these files and are shown by number.

use std::fs;

/// The group's number: of the name in `/etc/group`, or the number itself.
pub(super) fn gid_of(group: &str) -> Option<u32> {
    if let Ok(gid) = group.parse() {
        return Some(gid);
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    find(&groups, |name, _| name == group).and_then(|(_, gid)| gid.parse().ok())
}

/// How a user is named in events: `otto (uid 1000)`.
pub(super) fn user(uid: Option<u32>) -> String {
    let Some(uid) = uid else { return "an admin".to_owned() };
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    match find(&users, |_, other| other == number) {
        Some((name, _)) => format!("{name} (uid {uid})"),
        None => format!("uid {uid}"),
    }
}

/// The first line whose name and number fit: `name:password:number:…`.
fn find(lines: &str, fits: impl Fn(&str, &str) -> bool) -> Option<(&str, &str)> {
    let entries = lines.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?))
    });
    entries.into_iter().find(|(name, number)| fits(name, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_name_and_number() {
        let lines = "root:x:0:0:root:/:/bin/sh\nbroken\notto:x:1000:1000::/:/bin/sh\n";
        assert_eq!(find(lines, |name, _| name == "otto"), Some(("otto", "1000")));
        assert_eq!(find(lines, |_, uid| uid == "0"), Some(("root", "0")));
        assert_eq!(find(lines, |name, _| name == "x"), None);
        assert_eq!(gid_of("4711"), Some(4711));
        assert_eq!(user(None), "an admin");
    }
}
