//! The effective configuration as rows, each with where it is from: what `tsmig config show` prints.

use std::path::PathBuf;

use serde::Serialize;

use super::{Config, Located, Setting};

pub const SCHEMA: &str = "tsmig.config/1";

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Effective {
    pub schema: String,
    /// The files that are looked for, in their order.
    pub files: Vec<FileRow>,
    /// All settings, with their keys from the top: `defaults.window`, `hosts.host-a.uri`.
    pub settings: Vec<Setting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileRow {
    pub path: PathBuf,
    pub read: bool,
}

impl Effective {
    pub fn of(config: &Config, options: &[Setting]) -> Self {
        let option = |option: &Setting| Setting { key: format!("defaults.{}", option.key), ..option.clone() };
        let mut settings: Vec<_> = options.iter().map(option).collect();
        for (name, host) in &config.hosts {
            let key = |key: &str| format!("hosts.{name}.{key}");
            settings.extend(row(key("uri"), host.uri.as_ref(), String::clone));
            settings.extend(row(key("migration_uri"), host.migration_uri.as_ref(), String::clone));
            settings.extend(row(key("link"), host.link.as_ref(), |link| link.as_option()));
            settings.extend(row(key("memory"), host.memory.as_ref(), ToString::to_string));
            settings.extend(row(key("memory_reserve"), host.memory_reserve.as_ref(), ToString::to_string));
            settings.extend(row(key("shell"), host.shell.as_ref(), ToString::to_string));
            settings.extend(row(key("migration_port"), host.migration_port.as_ref(), String::clone));
            let ports = host.ports.iter().map(|(name, rate)| (format!("ports.{name}"), rate));
            settings.extend(ports.filter_map(|(name, rate)| row(key(&name), Some(rate), |rate| rate.as_option())));
            let bridges = host.bridges.iter().map(|(name, port)| (format!("bridges.{name}"), port));
            settings.extend(bridges.filter_map(|(name, port)| row(key(&name), Some(port), String::clone)));
        }
        let duration = |limit: &_| humantime::format_duration(*limit).to_string();
        for (i, rule) in config.domains.iter().enumerate() {
            let key = |key| format!("domains[{i}].{key}");
            let technique = |t: &Option<_>| t.map_or("auto".to_owned(), |t: crate::domain::Technique| t.to_string());
            settings.extend(row(key("match"), Some(&rule.pattern), String::clone));
            settings.extend(row(key("technique"), rule.technique.as_ref(), technique));
            settings.extend(row(key("order"), rule.order.as_ref(), ToString::to_string));
            settings.extend(row(key("keep"), rule.keep.as_ref(), ToString::to_string));
            settings.extend(row(key("timeout"), rule.timeout.as_ref(), ToString::to_string));
            settings.extend(row(key("max_downtime"), rule.max_downtime.as_ref(), duration));
        }
        let hooks = config.hooks.iter();
        settings
            .extend(hooks.flat_map(|(name, hook)| row(format!("hooks.{name}"), Some(hook), |words| words.join(" "))));
        settings.extend(row("hooks.timeout".to_owned(), config.hook_timeout.as_ref(), duration));
        let files = config.files.iter().map(|(path, read)| FileRow { path: path.clone(), read: *read });
        Self { schema: SCHEMA.to_owned(), files: files.collect(), settings }
    }
}

fn row<T>(key: String, located: Option<&Located<T>>, text: impl Fn(&T) -> String) -> Option<Setting> {
    located.map(|located| Setting { key, value: text(&located.value), origin: located.origin.clone() })
}
