//! The configuration: what a host name stands for, defaults of the options, rules for domains, hooks.
//!
//! `/etc/tsmig/config.toml`, then `$XDG_CONFIG_HOME/tsmig/config.toml`, then `--config`, then the options: each beats
//! those before it, key by key. Of the rules for domains all are kept, in that order, and the last that matches a
//! domain and says something of a matter decides it. Every value knows where it is from.

mod file;
pub mod keys;
pub(crate) mod show;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs, io};

use globset::GlobMatcher;
use serde::{Serialize, Serializer};

use crate::domain::Technique;
use crate::engine::Timeout;
use crate::libvirt::Endpoint;
use crate::profile::ports::Told;
use crate::topology::CapacityOrigin;
use crate::units::{Rate, Size};

#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The files that were looked for, and whether they were there.
    pub files: Vec<(PathBuf, bool)>,
    /// By the name that the user writes.
    pub hosts: BTreeMap<String, HostConfig>,
    /// Defaults of the options, by their long names, as text that the option takes.
    pub defaults: BTreeMap<String, Located<String>>,
    /// Rules for domains; later ones beat earlier ones.
    pub domains: Vec<DomainRule>,
    /// Commands to run around an evacuation, by their keys in [`keys::HOOKS`]: a program and its arguments.
    pub hooks: BTreeMap<&'static str, Located<Vec<String>>>,
    pub hook_timeout: Option<Located<Duration>>,
    /// The options of this command line, with where their values are from.
    pub settings: Vec<Setting>,
    /// What is wrong in the files, in their order.
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostConfig {
    pub uri: Option<Located<String>>,
    pub migration_uri: Option<Located<String>>,
    pub link: Option<Located<Rate>>,
    pub memory: Option<Located<Size>>,
    pub memory_reserve: Option<Located<Size>>,
    pub shell: Option<Located<bool>>,
    pub migration_port: Option<Located<String>>,
    /// Capacities, by the ports' names.
    pub ports: BTreeMap<String, Located<Rate>>,
    /// Where devices lead, by their names: to a port, or [`NOWHERE`].
    pub bridges: BTreeMap<String, Located<String>>,
}

/// What a bridge leads to that has no port.
pub(crate) const NOWHERE: &str = "none";

/// What holds for the domains that a pattern matches; `None` if it says nothing.
#[derive(Debug, Clone)]
pub struct DomainRule {
    pub pattern: Located<String>,
    glob: GlobMatcher,
    /// How they move; `None` in it leaves that to the planner.
    pub technique: Option<Located<Option<Technique>>>,
    pub order: Option<Located<Order>>,
    pub keep: Option<Located<bool>>,
    pub timeout: Option<Located<Timeout>>,
    pub max_downtime: Option<Located<Duration>>,
}

impl DomainRule {
    pub fn matches(&self, domain: &str) -> bool {
        self.pattern.value == domain || self.glob.is_match(domain)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    First,
    Any,
    Last,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::First => "first",
            Self::Any => "any",
            Self::Last => "last",
        })
    }
}

/// A value of a file, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    pub value: T,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// Something that is wrong with what the user configured or typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` if it was typed.
    pub place: Option<Place>,
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(Place),
    Option,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::File(Place { path, line, .. }) => f.pad(&format!("{}:{line}", path.display())),
            Self::Option => f.pad("option"),
        }
    }
}

/// As text: `default`, `option`, or FILE:LINE.
impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: can't be read: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}", lines(.0))]
    Invalid(Vec<Problem>),
}

/// The problems as one error: each on a line that begins as the first does.
fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\nerror: ")
}

/// Judges a value of `[defaults]`, by the long name of its option: the problem in words.
pub type Judge<'a> = &'a dyn Fn(&str, &str) -> Result<(), String>;

/// What is wrong with a value, in words that name it.
pub(crate) fn invalid(value: &str, reason: String) -> String {
    if reason.contains(&format!("{value:?}")) { reason } else { format!("invalid value {value:?}: {reason}") }
}

impl Config {
    /// Reads the usual files, if they exist, and `explicit`, which must. What is wrong in them is among [`Config::problems`].
    pub fn load(explicit: Option<&Path>, judge: Judge<'_>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for path in usual_paths() {
            match Self::read(&path, judge) {
                Err(ConfigError::Unreadable { source, .. })
                    if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    config.files.push((path, false));
                }
                other => config.merge(other?),
            }
        }
        if let Some(path) = explicit {
            config.merge(Self::read(path, judge)?);
        }
        Ok(config)
    }

    /// Reads one file. What is wrong in it is among [`Config::problems`].
    pub fn read(path: &Path, judge: Judge<'_>) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Ok(file::parse(path, &text, judge))
    }

    /// Fails with all problems, if there are any.
    pub fn valid(&self) -> Result<(), ConfigError> {
        match self.problems.is_empty() {
            true => Ok(()),
            false => Err(ConfigError::Invalid(self.problems.clone())),
        }
    }

    fn merge(&mut self, later: Self) {
        self.files.extend(later.files);
        for (name, host) in later.hosts {
            let earlier = self.hosts.entry(name).or_default();
            earlier.uri = host.uri.or(earlier.uri.take());
            earlier.migration_uri = host.migration_uri.or(earlier.migration_uri.take());
            earlier.link = host.link.or(earlier.link.take());
            earlier.memory = host.memory.or(earlier.memory.take());
            earlier.memory_reserve = host.memory_reserve.or(earlier.memory_reserve.take());
            earlier.shell = host.shell.or(earlier.shell.take());
            earlier.migration_port = host.migration_port.or(earlier.migration_port.take());
            earlier.ports.extend(host.ports);
            earlier.bridges.extend(host.bridges);
        }
        self.defaults.extend(later.defaults);
        self.domains.extend(later.domains);
        self.hooks.extend(later.hooks);
        self.hook_timeout = later.hook_timeout.or(self.hook_timeout.take());
        self.problems.extend(later.problems);
    }

    pub fn is_typed(&self, option: &str) -> bool {
        self.settings.iter().any(|setting| setting.key == option && setting.origin == Origin::Option)
    }

    /// What `name` stands for: a URI as it is, a host of the configuration, or a name to reach by ssh.
    pub fn endpoint(&self, name: &str) -> Endpoint {
        let shell = self.host(name).and_then(|host| host.shell.as_ref()).is_none_or(|shell| shell.value);
        Endpoint { name: name.to_owned(), uri: self.uri(name), shell }
    }

    /// What is told of a host's ports, if `option` is `--link` or its configured default. Of the port that migrations cross
    /// the capacity is what was typed, else the host's own, else the default.
    pub fn ports(&self, name: &str, option: Option<Rate>) -> Told {
        let host = self.host(name);
        let migration_port = host.and_then(|host| host.migration_port.as_ref()).map(|port| port.value.clone());
        let capacities: BTreeMap<_, _> = host
            .map(|host| host.ports.iter().map(|(name, rate)| (name.clone(), rate.value.bits_per_second())).collect())
            .unwrap_or_default();
        let told = migration_port.as_ref().and_then(|port| capacities.get(port)).copied();
        let own = host.and_then(|host| host.link.as_ref()).map(|link| link.value.bits_per_second()).or(told);
        let lead = |lead: &Located<String>| Some(lead.value.clone()).filter(|port| port != NOWHERE);
        let bridges = host.map(|host| host.bridges.iter().map(|(name, to)| (name.clone(), lead(to))).collect());
        let link = match (option, own) {
            (Some(rate), _) if self.is_typed("link") => Some((rate.bits_per_second(), CapacityOrigin::Option)),
            (_, Some(rate)) => Some((rate, CapacityOrigin::Configuration)),
            (Some(rate), None) => Some((rate.bits_per_second(), CapacityOrigin::Configuration)),
            (None, None) => None,
        };
        Told { migration_port, link, capacities, bridges: bridges.unwrap_or_default() }
    }

    /// Where a destination takes migrated memory in, if that is configured.
    pub fn migration_uri(&self, name: &str) -> Option<String> {
        self.host(name).and_then(|host| host.migration_uri.clone()).map(|uri| uri.value)
    }

    /// What a host's guests may have of its memory, in bytes, if that is configured.
    pub fn guest_memory(&self, name: &str) -> Option<u64> {
        self.host(name)?.memory.as_ref().map(|memory| memory.value.bytes())
    }

    /// What has to stay free of a host's memory, in bytes, if that is configured.
    pub fn memory_reserve(&self, name: &str) -> Option<u64> {
        self.host(name)?.memory_reserve.as_ref().map(|reserve| reserve.value.bytes())
    }

    fn uri(&self, name: &str) -> String {
        match self.hosts.get(name).and_then(|host| host.uri.clone()) {
            Some(uri) => uri.value,
            None if name.contains(":/") => name.to_owned(),
            None => format!("qemu+ssh://{name}/system"),
        }
    }

    /// What is configured of a host: under the name that the user wrote, or under another that means the same URI.
    fn host(&self, name: &str) -> Option<&HostConfig> {
        let uri = self.uri(name);
        let same = || self.hosts.iter().find(|(other, _)| self.uri(other) == uri).map(|(_, host)| host);
        self.hosts.get(name).or_else(same)
    }

    /// What the last rule says that matches the domain and says something of the matter.
    pub fn rule<T: Clone>(&self, domain: &str, of: impl Fn(&DomainRule) -> &Option<Located<T>>) -> Option<T> {
        let matching = self.domains.iter().rev().filter(|rule| rule.matches(domain));
        matching.filter_map(|rule| of(rule).clone()).map(|located| located.value).next()
    }
}

/// The user's directory as the XDG base directory specification has it.
fn usual_paths() -> Vec<PathBuf> {
    let user = env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let directories = [Some(PathBuf::from("/etc")), user];
    directories.into_iter().flatten().map(|directory| directory.join("tsmig/config.toml")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let config = file::parse(Path::new("config.toml"), text, &|_, _| Ok(()));
        config.valid().expect("valid");
        config
    }

    #[test]
    fn a_host_is_a_uri_a_configured_name_or_an_ssh_name() {
        let config = config("[hosts.a]\nuri = 'qemu+tls://a.example/system'\n[hosts.b]\nlink = '10Gbit'");
        assert_eq!(config.endpoint("a").uri, "qemu+tls://a.example/system");
        assert_eq!(config.endpoint("b").uri, "qemu+ssh://b/system");
        assert_eq!(config.endpoint("c").uri, "qemu+ssh://c/system");
        assert_eq!(config.endpoint("qemu:///system").uri, "qemu:///system");
        assert_eq!(config.endpoint("test:///default").uri, "test:///default");
    }

    #[test]
    fn what_was_typed_beats_the_host_beats_the_default() {
        let mut config = config("[hosts.a]\nlink = '10Gbit'");
        let option = "100Mbit".parse().ok();
        assert_eq!(config.ports("a", option).link, Some((1e10, CapacityOrigin::Configuration)));
        assert_eq!(config.ports("b", option).link, Some((1e8, CapacityOrigin::Configuration)));
        assert_eq!(config.ports("b", None), Told::default());
        let (key, value) = ("link".to_owned(), "100Mbit".to_owned());
        config.settings.push(Setting { key, value, origin: Origin::Option });
        assert_eq!(config.ports("a", option).link, Some((1e8, CapacityOrigin::Option)));
    }

    #[test]
    fn ports_are_told_with_capacities_and_what_leads_to_them() {
        let mut merged = config(
            "[hosts.a]\nmigration_port = 'ens1'\nports = { ens1 = '25Gbit', bond0 = '20Gbit' }\nbridges = { br0 = 'bond0' }",
        );
        merged.merge(config("[hosts.a]\nports = { bond0 = '50Gbit' }\nbridges = { virbr9 = 'none' }"));
        let told = merged.ports("a", None);
        assert_eq!(told.migration_port.as_deref(), Some("ens1"));
        assert_eq!(told.link, Some((2.5e10, CapacityOrigin::Configuration)), "that of the port");
        assert_eq!(told.capacities, [("bond0".to_owned(), 5e10), ("ens1".to_owned(), 2.5e10)].into());
        let leads = [("br0".to_owned(), Some("bond0".to_owned())), ("virbr9".to_owned(), None)];
        assert_eq!(told.bridges, leads.into());
    }

    #[test]
    fn a_host_given_as_a_uri_is_found_by_it() {
        let config = config(
            "[hosts.a]\nuri = 'qemu+tls://a.example/system'\nmigration_uri = 'tcp://10.1.0.1'\n[hosts.b]\nlink = '1Gbit'",
        );
        assert_eq!(config.migration_uri("qemu+tls://a.example/system").as_deref(), Some("tcp://10.1.0.1"));
        assert!(config.ports("qemu+ssh://b/system", None).link.is_some(), "what the name b means");
        assert_eq!(config.ports("qemu+tcp://b/system", None), Told::default());
    }

    #[test]
    fn a_later_file_replaces_single_keys() {
        let mut merged = config("[hosts.a]\nuri = 'x:///'\nlink = '1Gbit'\n[defaults]\nwindow = '9s'\ninterval = '2s'");
        merged.merge(config("[hosts.a]\nuri = 'z:///'\n[defaults]\nwindow = '8s'"));
        assert_eq!(merged.endpoint("a").uri, "z:///");
        assert_eq!(merged.ports("a", None).link, Some((1e9, CapacityOrigin::Configuration)));
        assert_eq!((&*merged.defaults["window"].value, &*merged.defaults["interval"].value), ("8s", "2s"));
    }

    #[test]
    fn the_last_rule_that_says_something_decides() {
        let mut merged = config(
            "[[domains]]\nmatch = 'web-*'\ntechnique = 'post-copy'\nkeep = true\n\
             [[domains]]\nmatch = 'web-1'\nkeep = false\norder = 'first'",
        );
        let technique = |config: &Config, name| config.rule(name, |rule| &rule.technique);
        assert_eq!(technique(&merged, "web-1"), Some(Some(Technique::PostCopy)));
        assert_eq!(merged.rule("web-1", |rule| &rule.keep), Some(false));
        assert_eq!(merged.rule("web-2", |rule| &rule.keep), Some(true));
        assert_eq!(merged.rule("db", |rule| &rule.keep), None);
        merged.merge(config("[[domains]]\nmatch = '*'\ntechnique = 'auto'"));
        assert_eq!(technique(&merged, "web-1"), Some(None), "the later file wins");
    }
}
