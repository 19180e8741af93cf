//! The configuration files: what a host name stands for.
//!
//! `/etc/tsmig/config.toml`, then `$XDG_CONFIG_HOME/tsmig/config.toml`, then `--config`; a host named in a later
//! file replaces the same host of an earlier one. An unknown key is an error: a misspelt one must not pass.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::Deserialize;

use crate::hypervisor::libvirt::Endpoint;
use crate::profile::{Link, LinkOrigin};
use crate::units::Rate;

/// The merged configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// By the name that the user writes.
    pub hosts: BTreeMap<String, HostConfig>,
}

/// What is known of a host.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostConfig {
    /// Its libvirt URI.
    pub uri: Option<String>,
    /// Where it takes migrated memory in.
    pub migration_uri: Option<String>,
    /// Capacity of its NIC each way.
    pub link: Option<Rate>,
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path}: can't be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file says something wrong.
    #[error("{path}: {source}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong there.
        source: Box<toml::de::Error>,
    },
}

impl Config {
    /// Reads the usual files, where they exist, and `explicit`, which must.
    ///
    /// # Errors
    /// A file can't be read or says something wrong.
    pub fn load(explicit: Option<&Path>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        for path in usual_paths() {
            match Self::read(&path) {
                Err(ConfigError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {}
                other => config.merge(other?),
            }
        }
        if let Some(path) = explicit {
            config.merge(Self::read(path)?);
        }
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Invalid { path: path.to_owned(), source: Box::new(source) })
    }

    fn merge(&mut self, later: Self) {
        self.hosts.extend(later.hosts);
    }

    /// What `name` stands for: a URI as it is, a host of the configuration, or a name to reach by ssh.
    pub fn endpoint(&self, name: &str) -> Endpoint {
        Endpoint { name: name.to_owned(), uri: self.uri(name) }
    }

    /// The capacity of a host's link: the option, else the configuration; `None` where nobody has told it.
    pub fn link(&self, name: &str, option: Option<Rate>) -> Option<Link> {
        let told = |rate: Rate, origin| Link::new(rate.bits_per_second(), origin);
        let configured = || self.host(name).and_then(|host| host.link);
        option
            .map(|rate| told(rate, LinkOrigin::Option))
            .or_else(|| configured().map(|rate| told(rate, LinkOrigin::Configuration)))
    }

    /// Where a destination takes migrated memory in, where that is configured.
    pub fn migration_uri(&self, name: &str) -> Option<String> {
        self.host(name).and_then(|host| host.migration_uri.clone())
    }

    fn uri(&self, name: &str) -> String {
        match self.hosts.get(name).and_then(|host| host.uri.clone()) {
            Some(uri) => uri,
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
        toml::from_str(text).expect("valid")
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
    fn the_option_beats_the_configuration() {
        let config = config("[hosts.a]\nlink = '10Gbit'");
        let option = "100Mbit".parse().ok();
        assert_eq!(config.link("a", option).map(|link| link.origin), Some(LinkOrigin::Option));
        assert_eq!(config.link("a", None), Some(Link::new(1e10, LinkOrigin::Configuration)));
        assert_eq!(config.link("b", None), None);
    }

    #[test]
    fn a_host_given_as_a_uri_is_found_by_it() {
        let config = config(
            "[hosts.a]\nuri = 'qemu+tls://a.example/system'\nmigration_uri = 'tcp://10.1.0.1'\n[hosts.b]\nlink = '1Gbit'",
        );
        assert_eq!(config.migration_uri("qemu+tls://a.example/system").as_deref(), Some("tcp://10.1.0.1"));
        assert!(config.link("qemu+ssh://b/system", None).is_some(), "what the name b means");
        assert_eq!(config.link("qemu+tcp://b/system", None), None);
    }

    #[test]
    fn a_misspelt_key_is_an_error_that_says_where() {
        let error = toml::from_str::<Config>("[hosts.a]\nlnk = '10Gbit'").expect_err("unknown key").to_string();
        assert!(error.contains("line 2") && error.contains("lnk") && error.contains("link"), "{error}");
        let error = toml::from_str::<Config>("[hosts.a]\nlink = '10G'").expect_err("no rate").to_string();
        assert!(error.contains("line 2") && error.contains("100Mbit"), "{error}");
    }

    #[test]
    fn a_later_file_replaces_a_host() {
        let mut merged = config("[hosts.a]\nuri = 'x:///'\n[hosts.b]\nuri = 'y:///'");
        merged.merge(config("[hosts.a]\nuri = 'z:///'"));
        assert_eq!((merged.endpoint("a").uri, merged.endpoint("b").uri), ("z:///".to_owned(), "y:///".to_owned()));
    }
}
