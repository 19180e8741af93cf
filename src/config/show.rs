//! The effective configuration as rows, each with where it is from: what `tsmig config show` prints.

use std::path::PathBuf;

use serde::Serialize;

use super::{Config, Located, Origin, Setting};
use crate::domain::Technique;

/// The schema name that the effective configuration carries.
pub const SCHEMA: &str = "tsmig.config/1";

/// The effective configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// The files that are looked for, in their order.
    pub files: Vec<FileRow>,
    /// All settings.
    pub settings: Vec<Row>,
}

/// A file that is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRow {
    /// Its path.
    pub path: PathBuf,
    /// Whether it is there, and was read.
    pub read: bool,
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The key from the top: `defaults.window`, `hosts.host-a.uri`.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// `default`, `option`, or FILE:LINE.
    pub origin: String,
}

impl Effective {
    /// The configuration, with these values of the options.
    pub fn of(config: &Config, options: &[Setting]) -> Self {
        let row = |key: String, value: String, origin: &Origin| Row { key, value, origin: origin.to_string() };
        let options = options.iter().map(|s| row(format!("defaults.{}", s.key), s.value.clone(), &s.origin));
        let mut settings: Vec<_> = options.collect();
        let mut add = |key: String, located: Option<Located<String>>| {
            settings.extend(located.map(|l| row(key, l.value, &l.origin)));
        };
        for (name, host) in &config.hosts {
            add(format!("hosts.{name}.uri"), host.uri.clone());
            add(format!("hosts.{name}.migration_uri"), host.migration_uri.clone());
            let link = host.link.clone();
            let link = link.map(|Located { value, origin }| Located { value: value.as_option(), origin });
            add(format!("hosts.{name}.link"), link);
            add(format!("hosts.{name}.memory"), text(host.memory.as_ref()));
            add(format!("hosts.{name}.memory_reserve"), text(host.memory_reserve.as_ref()));
        }
        for (i, rule) in config.domains.iter().enumerate() {
            let key = |key| format!("domains[{i}].{key}");
            add(key("match"), Some(rule.pattern.clone()));
            let technique = |technique: Option<Technique>| technique.map_or("auto".to_owned(), |t| t.to_string());
            let technique = rule.technique.clone().map(|l| Located { value: technique(l.value), origin: l.origin });
            add(key("technique"), technique);
            add(key("order"), text(rule.order.as_ref()));
            add(key("keep"), text(rule.keep.as_ref()));
            add(key("timeout"), text(rule.timeout.as_ref()));
        }
        for (name, hook) in &config.hooks {
            let command = hook.value.join(" ");
            add(format!("hooks.{name}"), Some(Located { value: command, origin: hook.origin.clone() }));
        }
        let timeout = config.hook_timeout.clone();
        let timeout = timeout
            .map(|Located { value, origin }| Located { value: humantime::format_duration(value).to_string(), origin });
        add("hooks.timeout".to_owned(), timeout);
        let files = config.files.iter().map(|(path, read)| FileRow { path: path.clone(), read: *read });
        Self { schema: SCHEMA.to_owned(), files: files.collect(), settings }
    }
}

fn text<T: ToString>(located: Option<&Located<T>>) -> Option<Located<String>> {
    located.map(|located| Located { value: located.value.to_string(), origin: located.origin.clone() })
}
