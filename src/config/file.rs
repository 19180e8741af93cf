//! Reads one configuration file. Each error says file, line and column, what is wrong there and what would be right.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::Glob;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, nearest};
use super::{Config, ConfigError, DomainRule, HostConfig, Located, Order, Origin, options};

type Value<'a> = Spanned<DeValue<'a>>;

pub(super) fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let reader = Reader { path, text };
    let document = DeTable::parse(text).map_err(|error| {
        let end = text.len();
        reader.error(error.span().unwrap_or(end..end), error.message().replace('\n', ", "))
    })?;
    let mut config = Config { files: vec![(path.to_owned(), true)], ..Config::default() };
    for (key, value) in document.get_ref() {
        match &**key.get_ref() {
            "hosts" => reader.hosts(value, &mut config)?,
            "defaults" => reader.defaults(value, &mut config)?,
            "domains" => reader.domains(value, &mut config)?,
            "hooks" => reader.hooks(value, &mut config)?,
            other => {
                let option = keys::defaults().iter().any(|option| option.get_long() == Some(other));
                let hint =
                    if option { "it belongs under [defaults]".to_owned() } else { nearest(other, &keys::SECTIONS) };
                return Err(reader.error(key.span(), format!("unknown section `{other}`; {hint}")));
            }
        }
    }
    Ok(config)
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    /// Line and column, from 1.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    fn error(&self, span: Range<usize>, problem: impl Into<String>) -> ConfigError {
        let (line, column) = self.place(span.start);
        ConfigError::Invalid { path: PathBuf::from(self.path), line, column, problem: problem.into() }
    }

    fn located<T>(&self, at: &Value<'_>, value: T) -> Located<T> {
        Located { value, origin: Origin::File(self.path.to_owned(), self.place(at.span().start).0) }
    }

    fn table<'v, 'a>(&self, value: &'v Value<'a>, form: &str) -> Result<&'v DeTable<'a>, ConfigError> {
        value.get_ref().as_table().ok_or_else(|| self.error(value.span(), format!("it is no table; write {form}")))
    }

    /// The known keys of a table with their values; an unknown one is an error.
    fn known<'v, 'a>(
        &self,
        table: &'v DeTable<'a>,
        section: &str,
        known: &[Key],
    ) -> Result<Vec<(&'static str, &'v Value<'a>)>, ConfigError> {
        let names: Vec<_> = known.iter().map(|key| key.name).collect();
        let entry = |(key, value): (&Spanned<_>, &'v Value<'a>)| {
            let name: &str = AsRef::<str>::as_ref(key.get_ref());
            let found = names.iter().find(|known| **known == name).copied();
            let unknown =
                || self.error(key.span(), format!("unknown key `{name}` in {section}; {}", nearest(name, &names)));
            Ok((found.ok_or_else(unknown)?, value))
        };
        table.iter().map(|(key, value): (&Spanned<std::borrow::Cow<'a, str>>, _)| entry((key, value))).collect()
    }

    fn string<'v>(&self, value: &'v Value<'_>, what: &str) -> Result<&'v str, ConfigError> {
        match value.get_ref().as_str() {
            Some("") => Err(self.error(value.span(), format!("it is empty; write {what}"))),
            Some(text) => Ok(text),
            None => Err(self.error(value.span(), format!("it is no string; write {what}"))),
        }
    }

    /// A value as the command line has it: a string, or a number or truth value as it stands.
    fn scalar(&self, value: &Value<'_>) -> Result<String, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Boolean(truth) => Ok(truth.to_string()),
            other => Err(self.error(
                value.span(),
                format!("it is of the type {}; write one value, as the option takes it", other.type_str()),
            )),
        }
    }

    /// What the option of this name reads in the value.
    fn as_option<T: Clone + Send + Sync + 'static>(
        &self,
        option: &str,
        value: &Value<'_>,
    ) -> Result<Located<T>, ConfigError> {
        let parsed = options::parse(option, &self.scalar(value)?);
        Ok(self.located(value, parsed.map_err(|problem| self.error(value.span(), problem))?))
    }

    fn hosts(&self, value: &Value<'_>, config: &mut Config) -> Result<(), ConfigError> {
        for (name, value) in self.table(value, "[hosts.NAME]")? {
            let mut host = HostConfig::default();
            let section = format!("[hosts.{}]", name.get_ref());
            for (key, value) in self.known(self.table(value, "[hosts.NAME]")?, &section, &keys::HOSTS)? {
                let text = |what| Ok::<_, ConfigError>(self.located(value, self.string(value, what)?.to_owned()));
                match key {
                    "uri" => host.uri = Some(text("a libvirt URI such as \"qemu+tls://host-a.example/system\"")?),
                    "migration_uri" => host.migration_uri = Some(text("a URI such as \"tcp://10.1.0.2\"")?),
                    _ => host.link = Some(self.as_option("link", value)?),
                }
            }
            config.hosts.insert(name.get_ref().to_string(), host);
        }
        Ok(())
    }

    fn defaults(&self, value: &Value<'_>, config: &mut Config) -> Result<(), ConfigError> {
        let options = keys::defaults();
        let names: Vec<_> = options.iter().filter_map(|option| option.get_long()).collect();
        for (key, value) in self.table(value, "[defaults]")? {
            let name: &str = key.get_ref();
            if !names.contains(&name) {
                let hint = match keys::OPTIONS_ONLY.iter().find(|(option, _)| *option == name) {
                    Some((_, reason)) => format!("--{name} has no default: {reason}"),
                    None => format!("unknown key `{name}` in [defaults]; {}", nearest(name, &names)),
                };
                return Err(self.error(key.span(), hint));
            }
            let text = self.scalar(value)?;
            options::check(name, &text).map_err(|problem| self.error(value.span(), problem))?;
            config.defaults.insert(name.to_owned(), self.located(value, text));
        }
        Ok(())
    }

    fn domains(&self, value: &Value<'_>, config: &mut Config) -> Result<(), ConfigError> {
        let form = "[[domains]], once for each rule";
        let rules = value.get_ref().as_array();
        let rules = rules.ok_or_else(|| self.error(value.span(), format!("it is no list; write {form}")))?;
        for value in rules {
            config.domains.push(self.domain(value, self.table(value, form)?)?);
        }
        Ok(())
    }

    fn domain(&self, at: &Value<'_>, table: &DeTable<'_>) -> Result<DomainRule, ConfigError> {
        let (mut pattern, mut technique, mut order, mut keep, mut timeout) = (None, None, None, None, None);
        for (key, value) in self.known(table, "[[domains]]", &keys::DOMAINS)? {
            match key {
                "match" => {
                    let text = self.string(value, "a domain's name, or a glob such as \"web-*\"")?;
                    let glob = Glob::new(text)
                        .map_err(|error| self.error(value.span(), format!("{text:?}: {}", error.kind())))?;
                    pattern = Some((self.located(value, text.to_owned()), glob.compile_matcher()));
                }
                "technique" => technique = Some(self.as_option("technique", value)?),
                "timeout" => timeout = Some(self.as_option("timeout", value)?),
                "order" => {
                    let when = match value.get_ref().as_str() {
                        Some("first") => Order::First,
                        Some("any") => Order::Any,
                        Some("last") => Order::Last,
                        _ => return Err(self.error(value.span(), "write \"first\", \"last\" or \"any\"")),
                    };
                    order = Some(self.located(value, when));
                }
                _ => {
                    let truth = value.get_ref().as_bool();
                    let truth = truth.ok_or_else(|| self.error(value.span(), "write true or false"))?;
                    keep = Some(self.located(value, truth));
                }
            }
        }
        let (pattern, glob) =
            pattern.ok_or_else(|| self.error(at.span(), "a rule needs `match`, the domains' pattern"))?;
        Ok(DomainRule { pattern, glob, technique, order, keep, timeout })
    }

    fn hooks(&self, value: &Value<'_>, config: &mut Config) -> Result<(), ConfigError> {
        for (key, value) in self.known(self.table(value, "[hooks]")?, "[hooks]", &keys::HOOKS)? {
            if key == "timeout" {
                config.hook_timeout = Some(self.as_option::<Duration>("window", value)?);
                continue;
            }
            let what = "a program's path, or a list of it and its arguments, all strings";
            let command = match value.get_ref() {
                DeValue::Array(words) => {
                    words.iter().map(|word| Ok(self.string(word, what)?.to_owned())).collect::<Result<Vec<_>, _>>()?
                }
                _ => vec![self.string(value, what)?.to_owned()],
            };
            match command.first() {
                Some(program) if program.starts_with('/') => {}
                Some(_) => return Err(self.error(value.span(), "the program's path has to begin with /")),
                None => return Err(self.error(value.span(), format!("it is empty; write {what}"))),
            }
            config.hooks.insert(key, self.located(value, command));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_and_what_would_be_right() {
        for (text, wanted) in [
            ("[hosts.a]\nlnk = '10Gbit'", "c.toml:2:1: unknown key `lnk` in [hosts.a]; did you mean `link`?"),
            ("[hosts.a]\nlink = '10G'", "c.toml:2:8: \"10G\" is not a rate"),
            ("[hosts.a]\nuri = 5", "c.toml:2:7: it is no string; write a libvirt URI"),
            ("[host.a]\nuri = 'x'", "c.toml:1:2: unknown section `host`; did you mean `hosts`?"),
            ("window = '5s'", "c.toml:1:1: unknown section `window`; it belongs under [defaults]"),
            (
                "[defaults]\nconcurency = 4",
                "c.toml:2:1: unknown key `concurency` in [defaults]; did you mean `concurrency`?",
            ),
            ("[defaults]\nwindow = '5'", "c.toml:2:10: invalid value \"5\": time unit needed"),
            ("[defaults]\n  objective = 'speed'", "c.toml:2:15: invalid value \"speed\": write time, impact"),
            ("[defaults]\nconcurrency = 0", "c.toml:2:15: invalid value \"0\": write auto, or a whole number from 1"),
            ("[defaults]\nwindow = [1]", "c.toml:2:10: it is of the type array"),
            ("[defaults]\nexclude = 'a'", "c.toml:2:1: --exclude has no default: `keep` in [[domains]]"),
            ("[domains]\nmatch = 'a'", "it is no list; write [[domains]]"),
            ("[[domains]]\nkeep = true", "c.toml:1:1: a rule needs `match`"),
            ("[[domains]]\nmatch = 'a['", "c.toml:2:9: \"a[\": unclosed character class"),
            ("[[domains]]\nmatch = 'a'\norder = 'second'", "c.toml:3:9: write \"first\", \"last\" or \"any\""),
            (
                "[[domains]]\nmatch = 'a'\ntechnique = 'hot'",
                "c.toml:3:13: invalid value \"hot\": write auto, pre-copy, post-copy",
            ),
            ("[hooks]\nbefor-run = '/x'", "c.toml:2:1: unknown key `befor-run` in [hooks]; did you mean `before-run`?"),
            ("[hooks]\nbefore-run = []", "c.toml:2:14: it is empty; write a program's path"),
            ("[hooks]\nbefore-run = ''", "c.toml:2:14: it is empty; write a program's path"),
            ("[hooks]\nbefore-run = ['/x', 1]", "c.toml:2:21: it is no string"),
            ("[hooks]\nafter-run = 'notify'", "c.toml:2:13: the program's path has to begin with /"),
            ("[hooks]\ntimeout = 'long'", "c.toml:2:11: invalid value \"long\""),
            ("hooks = '/x'", "it is no table; write [hooks]"),
            ("[hosts.a]\nuri = 'x'\nuri = 'y'", "c.toml:3:1: duplicate key"),
            ("[hosts.\u{fc}]\n\u{fc} = 1", "c.toml:1:8:"),
        ] {
            let error = parse(Path::new("c.toml"), text).expect_err(text).to_string();
            assert!(error.contains(wanted), "{text:?}: {error}, not {wanted}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }
}
