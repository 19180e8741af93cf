//! Reads one configuration file. Each problem says file, line and column, what is wrong there and what would be right; all
//! problems of a file are found at once, and what is right beside them is read.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use globset::Glob;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, Key, nearest};
use super::{Config, DomainRule, HostConfig, Judge, Located, NOWHERE, Order, Origin, Place, Problem};
use crate::domain::Technique;
use crate::libvirt::uri;
use crate::units;

/// What names a port.
const PORT: &str = "the name of a NIC or a bond such as \"ens1\"";

type Value<'a> = Spanned<DeValue<'a>>;

/// Reads the text of a file. What is wrong in it is in [`Config::problems`], in the order of the file.
pub(super) fn parse(path: &Path, text: &str, judge: Judge<'_>) -> Config {
    let mut reader = Reader { path, text, judge, problems: Vec::new() };
    let mut config = Config { files: vec![(path.to_owned(), true)], ..Config::default() };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let end = text.len();
        reader.problem(error.span().unwrap_or(end..end), error.message().replace('\n', ", "));
    }
    // What the rest of a file that is no TOML means is a guess.
    if errors.is_empty() {
        reader.document(document.get_ref(), &mut config);
    }
    config.problems = reader.problems;
    config.problems.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.line, place.column)));
    config
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    judge: Judge<'a>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Line and column, from 1.
    fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Place { path: self.path.to_owned(), line: before.matches('\n').count() + 1, column: line.chars().count() + 1 }
    }

    fn problem(&mut self, span: Range<usize>, text: impl Into<String>) {
        let place = Some(self.place(span.start));
        self.problems.push(Problem { place, text: text.into() });
    }

    /// The value, or `None` with its problem noted.
    fn noted<T>(&mut self, at: Range<usize>, read: Result<T, String>) -> Option<T> {
        read.map_err(|problem| self.problem(at, problem)).ok()
    }

    fn located<T>(&self, at: &Value<'_>, value: T) -> Located<T> {
        Located { value, origin: Origin::File(self.place(at.span().start)) }
    }

    fn document(&mut self, document: &DeTable<'_>, config: &mut Config) {
        for (key, value) in document {
            match &**key.get_ref() {
                "hosts" => self.hosts(value, config),
                "defaults" => self.defaults(value, config),
                "domains" => self.domains(value, config),
                "hooks" => self.hooks(value, config),
                other => {
                    let hint = match keys::DEFAULTS.contains(&other) {
                        true => "it belongs under [defaults]".to_owned(),
                        false => nearest(other, &keys::SECTIONS),
                    };
                    self.problem(key.span(), format!("unknown section `{other}`; {hint}"));
                }
            }
        }
    }

    fn table<'v, 'a>(&mut self, value: &'v Value<'a>, form: &str) -> Option<&'v DeTable<'a>> {
        let table = value.get_ref().as_table().ok_or_else(|| format!("it is not a table; write {form}"));
        self.noted(value.span(), table)
    }

    /// The known keys of a table with their values; an unknown one is a problem.
    fn known<'v, 'a>(
        &mut self,
        table: &'v DeTable<'a>,
        section: &str,
        known: &[Key],
    ) -> Vec<(&'static str, &'v Value<'a>)> {
        let names: Vec<_> = known.iter().map(|key| key.name).collect();
        let entry = |(key, value): (&Spanned<Cow<'a, str>>, &'v Value<'a>)| {
            let name: &str = key.get_ref();
            let found = names.iter().find(|known| **known == name).copied();
            let unknown = || format!("unknown key `{name}` in {section}; {}", nearest(name, &names));
            Some((self.noted(key.span(), found.ok_or_else(unknown))?, value))
        };
        table.iter().filter_map(entry).collect()
    }

    fn string<'v>(&mut self, value: &'v Value<'_>, what: &str) -> Option<&'v str> {
        let text = match value.get_ref().as_str() {
            Some("") => Err(format!("it is empty; write {what}")),
            Some(text) => Ok(text),
            None => Err(format!("it is not a string; write {what}")),
        };
        self.noted(value.span(), text)
    }

    /// A value as the command line has it: a string, or a number or truth value as it stands.
    fn scalar(&mut self, value: &Value<'_>) -> Option<String> {
        let text = match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Boolean(truth) => Ok(truth.to_string()),
            other => Err(format!("it is of the type {}; write one value, as the option takes it", other.type_str())),
        };
        self.noted(value.span(), text)
    }

    fn parsed<T>(&mut self, value: &Value<'_>, read: fn(&str) -> Result<T, String>) -> Option<Located<T>> {
        let text = self.scalar(value)?;
        let parsed = self.noted(value.span(), read(&text).map_err(|reason| super::invalid(&text, reason)))?;
        Some(self.located(value, parsed))
    }

    fn truth(&mut self, value: &Value<'_>) -> Option<Located<bool>> {
        let truth = value.get_ref().as_bool().ok_or_else(|| "write true or false".to_owned());
        self.noted(value.span(), truth).map(|truth| self.located(value, truth))
    }

    fn uri(
        &mut self,
        value: &Value<'_>,
        what: &str,
        read: fn(&str) -> Result<String, String>,
    ) -> Option<Located<String>> {
        let text = self.string(value, what)?;
        let uri = self.noted(value.span(), read(text))?;
        Some(self.located(value, uri))
    }

    fn hosts(&mut self, value: &Value<'_>, config: &mut Config) {
        for (name, value) in self.table(value, "[hosts.NAME]").into_iter().flatten() {
            let mut host = HostConfig::default();
            let section = format!("[hosts.{}]", name.get_ref());
            let Some(table) = self.table(value, "[hosts.NAME]") else { continue };
            for (key, value) in self.known(table, &section, &keys::HOSTS) {
                match key {
                    "uri" => {
                        let what = "a libvirt URI such as \"qemu+tls://host-a.example/system\"";
                        host.uri = self.uri(value, what, uri::connection);
                    }
                    "migration_uri" => {
                        host.migration_uri = self.uri(value, "a URI such as \"tcp://10.1.0.2\"", uri::migration);
                    }
                    "memory" => host.memory = self.parsed(value, from_str),
                    "shell" => host.shell = self.truth(value),
                    "migration_port" => host.migration_port = self.name(value, PORT),
                    "ports" => {
                        let form = "{ ens1 = \"25Gbit\" }";
                        for (name, value) in self.table(value, form).into_iter().flatten() {
                            let rate = self.parsed(value, from_str);
                            host.ports.extend(rate.map(|rate| (name.get_ref().to_string(), rate)));
                        }
                    }
                    "bridges" => {
                        let form = "{ br0 = \"ens1\" }";
                        for (name, value) in self.table(value, form).into_iter().flatten() {
                            let port = self.name(value, "the name of a port such as \"ens1\", or \"none\"");
                            host.bridges.extend(port.map(|port| (name.get_ref().to_string(), port)));
                        }
                    }
                    "memory_reserve" => host.memory_reserve = self.parsed(value, from_str),
                    _ => host.link = self.parsed(value, from_str),
                }
            }
            self.check_ports(&host);
            config.hosts.insert(name.get_ref().to_string(), host);
        }
    }

    /// A bridge is no port: it leads to one.
    fn check_ports(&mut self, host: &HostConfig) {
        let leads = host.bridges.values().filter(|port| port.value != NOWHERE);
        let named: Vec<_> = leads.chain(&host.migration_port).collect();
        for port in named {
            let (Some(lead), Origin::File(place)) = (host.bridges.get(&port.value), &port.origin) else { continue };
            let right = if lead.value == NOWHERE { "a port" } else { &lead.value };
            let text = format!("{} is a bridge here, and no port; write {right}", port.value);
            self.problems.push(Problem { place: Some(place.clone()), text });
        }
    }

    /// A name in the kernel, which has no blanks and no slashes.
    fn name(&mut self, value: &Value<'_>, what: &str) -> Option<Located<String>> {
        let text = self.string(value, what)?;
        let is_name = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        let name = if is_name { Ok(text.to_owned()) } else { Err(format!("{text:?} is no device; write {what}")) };
        self.noted(value.span(), name).map(|name| self.located(value, name))
    }

    fn defaults(&mut self, value: &Value<'_>, config: &mut Config) {
        for (key, value) in self.table(value, "[defaults]").into_iter().flatten() {
            let name: &str = key.get_ref();
            if !keys::DEFAULTS.contains(&name) {
                let hint = match keys::OPTIONS_ONLY.iter().find(|(option, _)| *option == name) {
                    Some((_, reason)) => format!("--{name} has no default: {reason}"),
                    None => format!("unknown key `{name}` in [defaults]; {}", nearest(name, &keys::DEFAULTS)),
                };
                self.problem(key.span(), hint);
                continue;
            }
            let Some(text) = self.scalar(value) else { continue };
            if self.noted(value.span(), (self.judge)(name, &text)).is_some() {
                config.defaults.insert(name.to_owned(), self.located(value, text));
            }
        }
    }

    fn domains(&mut self, value: &Value<'_>, config: &mut Config) {
        let form = "[[domains]], once for each rule";
        let rules = value.get_ref().as_array().ok_or_else(|| format!("it is not a list; write {form}"));
        for value in self.noted(value.span(), rules).into_iter().flatten() {
            let rule = self.table(value, form).and_then(|table| self.domain(value, table));
            config.domains.extend(rule);
        }
    }

    fn domain(&mut self, at: &Value<'_>, table: &DeTable<'_>) -> Option<DomainRule> {
        let (mut pattern, mut technique, mut order, mut keep) = (None, None, None, None);
        let (mut timeout, mut max_downtime) = (None, None);
        if !table.contains_key("match") {
            self.problem(at.span(), "a rule needs `match`, the domains' pattern");
        }
        for (key, value) in self.known(table, "[[domains]]", &keys::DOMAINS) {
            match key {
                "match" => {
                    let Some(text) = self.string(value, "a domain's name, or a glob such as \"web-*\"") else {
                        continue;
                    };
                    let glob = Glob::new(text).map_err(|error| format!("{text:?}: {}", error.kind()));
                    let glob = self.noted(value.span(), glob);
                    pattern = glob.map(|glob| (self.located(value, text.to_owned()), glob.compile_matcher()));
                }
                "technique" => technique = self.parsed(value, read_technique),
                "timeout" => timeout = self.parsed(value, from_str),
                "max_downtime" => max_downtime = self.parsed(value, units::max_downtime),
                "order" => {
                    let when = match value.get_ref().as_str() {
                        Some("first") => Ok(Order::First),
                        Some("any") => Ok(Order::Any),
                        Some("last") => Ok(Order::Last),
                        _ => Err("write \"first\", \"last\" or \"any\"".to_owned()),
                    };
                    order = self.noted(value.span(), when).map(|when| self.located(value, when));
                }
                _ => keep = self.truth(value),
            }
        }
        let (pattern, glob) = pattern?;
        Some(DomainRule { pattern, glob, technique, order, keep, timeout, max_downtime })
    }

    fn hooks(&mut self, value: &Value<'_>, config: &mut Config) {
        let Some(table) = self.table(value, "[hooks]") else { return };
        for (key, value) in self.known(table, "[hooks]", &keys::HOOKS) {
            if key == "timeout" {
                config.hook_timeout = self.parsed(value, units::duration);
            } else if let Some(command) = self.command(value) {
                config.hooks.insert(key, self.located(value, command));
            }
        }
    }

    fn command(&mut self, value: &Value<'_>) -> Option<Vec<String>> {
        let what = "a program's path, or a list of it and its arguments, all strings";
        let command = match value.get_ref() {
            DeValue::Array(words) => {
                let words: Vec<_> = words.iter().map(|word| self.string(word, what).map(str::to_owned)).collect();
                words.into_iter().collect::<Option<Vec<_>>>()?
            }
            _ => vec![self.string(value, what)?.to_owned()],
        };
        let command = match command.first() {
            Some(program) if program.starts_with('/') => Ok(command),
            Some(_) => Err("the program's path has to begin with /".to_owned()),
            None => Err(format!("it is empty; write {what}")),
        };
        self.noted(value.span(), command)
    }
}

fn from_str<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn read_technique(text: &str) -> Result<Option<Technique>, String> {
    match text {
        "auto" => Ok(None),
        "pre-copy" => Ok(Some(Technique::PreCopy)),
        "post-copy" => Ok(Some(Technique::PostCopy)),
        "hybrid" => Ok(Some(Technique::Hybrid)),
        _ => Err("write auto, pre-copy, post-copy, hybrid".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Config {
        let judge = |_: &str, value: &str| if value == "5" { Err("invalid".to_owned()) } else { Ok(()) };
        parse(Path::new("c.toml"), text, &judge)
    }

    #[test]
    fn an_error_says_where_and_what_would_be_right() {
        for (text, wanted) in [
            ("[hosts.a]\nlnk = '10Gbit'", "c.toml:2:1: unknown key `lnk` in [hosts.a]; did you mean `link`?"),
            ("[hosts.a]\nlink = '10G'", "c.toml:2:8: \"10G\" is not a rate"),
            (
                "[hosts.a]\nmemory = '64GB/s'",
                "c.toml:2:10: \"64GB/s\" is not a size: the unit is unknown; write for example 512MiB",
            ),
            ("[hosts.a]\nmemory_reserve = 4", "c.toml:2:18: \"4\" is not a size: the unit is missing"),
            (
                "[hosts.a]\nmigration_port = 'a b'",
                "c.toml:2:18: \"a b\" is no device; write the name of a NIC or a bond",
            ),
            ("[hosts.a]\nports = 'ens1'", "c.toml:2:9: it is not a table; write { ens1 = \"25Gbit\" }"),
            ("[hosts.a]\nports = { ens1 = '25' }", "c.toml:2:18: \"25\" is not a rate"),
            ("[hosts.a]\nbridges = { br0 = 1 }", "c.toml:2:19: it is not a string; write the name of a port"),
            (
                "[hosts.a]\nmigration_port = 'br0'\nbridges = { br0 = 'ens1' }",
                "c.toml:2:18: br0 is a bridge here, and no port; write ens1",
            ),
            ("[hosts.a]\nuri = 5", "c.toml:2:7: it is not a string; write a libvirt URI"),
            (
                "[hosts.a]\nuri = 'not a uri'",
                "c.toml:2:7: \"not a uri\" is not a libvirt URI; write for example qemu+ssh://",
            ),
            (
                "[hosts.a]\nmigration_uri = '10.1.0.2'",
                "c.toml:2:17: \"10.1.0.2\" is not a migration URI; write for example",
            ),
            ("[host.a]\nuri = 'x'", "c.toml:1:2: unknown section `host`; did you mean `hosts`?"),
            ("window = '5s'", "c.toml:1:1: unknown section `window`; it belongs under [defaults]"),
            (
                "[defaults]\nconcurency = 4",
                "c.toml:2:1: unknown key `concurency` in [defaults]; did you mean `concurrency`?",
            ),
            ("[defaults]\nwindow = [1]", "c.toml:2:10: it is of the type array"),
            ("[defaults]\nexclude = 'a'", "c.toml:2:1: --exclude has no default: `keep` in [[domains]]"),
            ("[domains]\nmatch = 'a'", "it is not a list; write [[domains]]"),
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
            ("[hooks]\nbefore-run = ['/x', 1]", "c.toml:2:21: it is not a string"),
            ("[hooks]\nafter-run = 'notify'", "c.toml:2:13: the program's path has to begin with /"),
            ("[hooks]\ntimeout = 'long'", "c.toml:2:11: invalid value \"long\""),
            ("hooks = '/x'", "it is not a table; write [hooks]"),
            ("[hosts.a]\nuri = 'x'\nuri = 'y'", "c.toml:3:1: duplicate key"),
            ("[hosts.\u{fc}]\n\u{fc} = 1", "c.toml:1:8:"),
        ] {
            let problems = read(text).problems;
            let error = problems.first().unwrap_or_else(|| panic!("{text:?} is valid")).to_string();
            assert!(error.contains(wanted), "{text:?}: {error}, not {wanted}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }

    #[test]
    fn all_problems_are_found_at_once_in_the_order_of_the_file_and_the_rest_is_read() {
        let text = "[hooks]\nbefor-run = '/x'\nafter-run = 'x'\n[hosts.a]\nuri = 5\nlink = '1Gbit'\nlnk = 1\n\
                    [[domains]]\nmatch = 'a['\nkeep = 1\n[[domains]]\nmatch = 'b'\nkeep = true\n[defaults]\nwindow = '5'\n";
        let config = read(text);
        let lines: Vec<_> = config.problems.iter().filter_map(|problem| Some(problem.place.as_ref()?.line)).collect();
        assert_eq!(lines, [2, 3, 5, 7, 9, 10, 15], "{:?}", config.problems);
        assert!(config.hosts["a"].link.is_some() && config.domains.len() == 1, "{config:?}");

        let config = read("[hosts.a]\nlink = \n[hosts.b]\nuri = 'x\n");
        let lines: Vec<_> = config.problems.iter().filter_map(|problem| Some(problem.place.as_ref()?.line)).collect();
        assert_eq!(lines, [2, 4], "{:?}", config.problems);
    }
}
