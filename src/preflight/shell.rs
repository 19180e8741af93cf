//! What is asked of a host's shell, in one script, and its answer. The script only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use super::question::Question;
use crate::libvirt::quoted;

/// What a host's shell said; empty if it said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shell {
    /// The host's addresses.
    pub addresses: Option<Vec<IpAddr>>,
    /// Whether a process may listen on addresses that the host does not have (`ip_nonlocal_bind`).
    pub binds_any: bool,
    /// Whether libvirt gives the files of a guest to the user of its QEMU (`dynamic_ownership`).
    pub gives: Option<bool>,
    /// Whether there is something by its path.
    pub nodes: BTreeMap<String, bool>,
    /// What a user may do with a file, by both.
    pub access: BTreeMap<(String, String), Access>,
    /// Whether there is a user, by name or number.
    pub users: BTreeMap<String, bool>,
}

/// What a user may do with a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Access {
    pub reads: bool,
    pub writes: bool,
}

/// Says of each path, on a line that begins with the name of this script, which access the caller has.
const LOOK: &str = r#"for p; do r=-; w=-; [ -r "$p" ] && r=r; [ -w "$p" ] && w=w; echo "$0 $r$w $p"; done"#;

impl Shell {
    /// The user that libvirt's daemon runs as.
    pub(super) const ROOT: &str = "0:0";

    /// The script that answers the questions. Some only root can answer: others see less than there is.
    pub(super) fn script(questions: &BTreeSet<Question>) -> String {
        let mut script = r#"PATH=$PATH:/usr/sbin:/sbin
root() { [ "$(id -u)" = 0 ]; }
addresses=$(ip -j address) && echo "addresses $addresses"
[ "$(cat /proc/sys/net/ipv4/ip_nonlocal_bind)" = 1 ] && echo "binds any"
conf=/etc/libvirt/qemu.conf
if [ -r $conf ]; then
    if grep -Eq '^[[:space:]]*dynamic_ownership[[:space:]]*=[[:space:]]*0' $conf; then echo "gives no"; else echo "gives yes"; fi
fi
"#
        .to_owned();
        let mut access: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for question in questions {
            match question {
                Question::Node(path) => {
                    let path = quoted(path);
                    script +=
                        &format!("if [ -e {path} ]; then echo there {path}; elif root; then echo missing {path}; fi\n");
                }
                Question::User(user) => {
                    let user = quoted(user);
                    script +=
                        &format!("if id {user}; then echo user {user}; else echo stranger {user}; fi | tail -n 1\n");
                }
                Question::Access { user, path } => {
                    for user in [user, Self::ROOT] {
                        let paths = access.entry(user).or_default();
                        let path = quoted(path);
                        if !paths.contains(&path) {
                            paths.push(path);
                        }
                    }
                }
                Question::File(_) | Question::Network(_) | Question::Addresses => {}
            }
        }
        for (user, paths) in access {
            let (look, name, paths) = (quoted(LOOK), quoted(&format!("access {user}")), paths.join(" "));
            script += &match user.split_once(':') {
                Some((user, group)) if format!("{user}:{group}") != Self::ROOT => {
                    let (user, group) = (quoted(user), quoted(group));
                    format!(
                        "root && setpriv --reuid {user} --regid {group} --init-groups sh -c {look} {name} {paths}\n"
                    )
                }
                _ => format!("root && sh -c {look} {name} {paths}\n"),
            };
        }
        script
    }

    /// Reads what the script printed.
    pub(super) fn read(said: &str) -> Self {
        let mut shell = Self::default();
        for (key, rest) in said.lines().filter_map(|line| line.split_once(' ')) {
            match key {
                "addresses" => shell.addresses = addresses(rest),
                "binds" => shell.binds_any = true,
                "gives" => shell.gives = Some(rest == "yes"),
                "there" | "missing" => drop(shell.nodes.insert(rest.to_owned(), key == "there")),
                "user" | "stranger" => drop(shell.users.insert(rest.to_owned(), key == "user")),
                "access" => {
                    let mut words = rest.splitn(3, ' ');
                    if let (Some(user), Some(may), Some(path)) = (words.next(), words.next(), words.next()) {
                        let may = Access { reads: may.starts_with('r'), writes: may.ends_with('w') };
                        shell.access.insert((user.to_owned(), path.to_owned()), may);
                    }
                }
                _ => {}
            }
        }
        shell
    }
}

/// The addresses in what `ip -j address` prints.
fn addresses(json: &str) -> Option<Vec<IpAddr>> {
    let links: Vec<Value> = serde_json::from_str(json).ok()?;
    let infos = links.iter().filter_map(|link| link["addr_info"].as_array()).flatten();
    Some(infos.filter_map(|info| info["local"].as_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_answers_and_is_understood() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| format!("{}/{name}", directory.path().display());
        let there = path("it's there");
        std::fs::write(&there, "").unwrap();
        let questions = [
            Question::Node(there.clone()),
            Question::User("0".to_owned()),
            Question::User("no-such-user".to_owned()),
            Question::Access { user: Shell::ROOT.to_owned(), path: there.clone() },
        ];
        let output = Command::new("sh").arg("-c").arg(Shell::script(&questions.into())).output().unwrap();
        let shell = Shell::read(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(shell.nodes, [(there.clone(), true)].into());
        assert_eq!(shell.users, [("0".to_owned(), true), ("no-such-user".to_owned(), false)].into());
        let access = shell.access.get(&(Shell::ROOT.to_owned(), there));
        assert_eq!(access.copied(), nix::unistd::geteuid().is_root().then_some(Access { reads: true, writes: true }));
    }

    #[test]
    fn addresses_are_those_of_all_links() {
        let json = r#"addresses [{"ifname":"lo","addr_info":[{"local":"127.0.0.1"},{"local":"::1"}]},{"ifname":"x"}]"#;
        let addresses = ["127.0.0.1", "::1"].map(|address| address.parse().unwrap()).to_vec();
        assert_eq!(Shell::read(json).addresses, Some(addresses));
        assert_eq!(Shell::read("addresses ip: unknown option").addresses, None);
    }
}
