//! From patterns to rules: which domains of the source move, and which technique the user gave them.
//!
//! Pure. A pattern that matches nothing is an error, since a misspelt name would otherwise move the wrong set; one that
//! matches a domain of the destination alone is none, so that a command can be run again. A domain's own name beats a
//! glob, and two patterns of equal rank that disagree are an error.

use std::cmp::Reverse;
use std::time::Duration;

use globset::{Glob, GlobMatcher};

use crate::cli::{PlanningArgs, TechniqueArg};
use crate::config::{Config, Order};
use crate::domain::Technique;
use crate::plan::{Rule, StayKind};
use crate::profile::Profile;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("{option} {pattern:?}: {reason}")]
    Invalid { option: &'static str, pattern: String, reason: String },
    /// No domain of the source matches, and none that has moved.
    #[error("{option} {pattern:?} matches no domain of {host}; it has: {domains}")]
    NoMatch { option: &'static str, pattern: String, host: String, domains: String },
    #[error("{domain} is matched by {one} and by {other}; name it in one of them")]
    Both { domain: String, one: String, other: String },
}

#[derive(Clone)]
struct Pattern {
    option: &'static str,
    text: String,
    glob: GlobMatcher,
}

impl Pattern {
    /// How closely it names the domain: 2 by its name, 1 by a glob, 0 not at all.
    fn rank(&self, domain: &str) -> u8 {
        if self.text == domain { 2 } else { u8::from(self.glob.is_match(domain)) }
    }

    /// Fails if it names no domain of either host.
    fn check(&self, source: &Profile, destination: &Profile) -> Result<(), SelectError> {
        if source.domains.iter().chain(&destination.domains).any(|domain| self.rank(&domain.name) > 0) {
            return Ok(());
        }
        let names: Vec<_> = source.domains.iter().map(|domain| domain.name.as_str()).collect();
        Err(SelectError::NoMatch {
            option: self.option,
            pattern: self.text.clone(),
            host: source.host.clone(),
            domains: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
        })
    }
}

/// What the user asks of domains, by their names alone: also of one that was not there when the plan was made.
#[derive(Clone)]
pub struct Selection {
    only: Vec<Pattern>,
    exclude: Vec<Pattern>,
    pre_copy: Vec<Pattern>,
    post_copy: Vec<Pattern>,
    first: Vec<Pattern>,
    last: Vec<Pattern>,
    technique: Option<Technique>,
    offline: bool,
    owned: bool,
    max_downtime: Option<Duration>,
    config: Config,
}

impl Selection {
    /// Reads the patterns; whether they match anything is known when the domains are.
    pub fn new(arguments: &PlanningArgs, config: &Config) -> Result<Self, SelectError> {
        Ok(Self {
            only: patterns("--only", &arguments.only)?,
            exclude: patterns("--exclude", &arguments.exclude)?,
            pre_copy: patterns("--pre-copy", &arguments.pre_copy)?,
            post_copy: patterns("--post-copy", &arguments.post_copy)?,
            first: patterns("--first", &arguments.first)?,
            last: patterns("--last", &arguments.last)?,
            technique: match arguments.technique {
                TechniqueArg::Auto => None,
                TechniqueArg::PreCopy => Some(Technique::PreCopy),
                TechniqueArg::PostCopy => Some(Technique::PostCopy),
                TechniqueArg::Hybrid => Some(Technique::Hybrid),
            },
            offline: arguments.offline,
            owned: arguments.owned,
            max_downtime: arguments.max_downtime,
            config: config.clone(),
        })
    }

    /// Whether a domain of that name is to move.
    pub fn takes(&self, name: &str) -> bool {
        let selected = self.only.is_empty() || best(&self.only, name).is_some();
        selected && best(&self.exclude, name).is_none() && !self.keeps(name)
    }

    /// Whether the configuration keeps it. Whoever names it in --only means it.
    fn keeps(&self, name: &str) -> bool {
        self.only.is_empty() && self.config.rule(name, |rule| &rule.keep) == Some(true)
    }

    /// What was typed beats the configuration's rules, which beat its default.
    fn max_downtime(&self, name: &str) -> Option<Duration> {
        let typed = self.config.is_typed("max-downtime");
        self.config.rule(name, |rule| &rule.max_downtime).filter(|_| !typed).or(self.max_downtime)
    }

    /// The rules for the source's domains, in their order.
    pub fn rules(&self, source: &Profile, destination: &Profile) -> Result<Vec<Rule>, SelectError> {
        let Self { only, exclude, pre_copy, post_copy, first, last, .. } = self;
        let patterns = [only, exclude, pre_copy, post_copy, first, last].into_iter().flatten();
        patterns.into_iter().try_for_each(|pattern| pattern.check(source, destination))?;
        source.domains.iter().map(|domain| self.rule(&domain.name)).collect()
    }

    fn rule(&self, name: &str) -> Result<Rule, SelectError> {
        let typed = self.config.is_typed("technique");
        let (technique, technique_origin) = match either(name, &self.pre_copy, &self.post_copy)? {
            Some(Either::One) => (Some(Technique::PreCopy), Some("--pre-copy")),
            Some(Either::Other) => (Some(Technique::PostCopy), Some("--post-copy")),
            // What was typed beats the configuration's rules, which beat its default.
            None => match self.config.rule(name, |rule| &rule.technique).filter(|_| !typed) {
                Some(technique) => (technique, technique.map(|_| "the configuration")),
                None => (self.technique, self.technique.map(|_| "--technique")),
            },
        };
        let rank = match either(name, &self.first, &self.last)? {
            // In the order of the options, outside of what the configuration says.
            Some(Either::One) => place(name, &self.first) - self.first.len() as i32 - 1,
            Some(Either::Other) => place(name, &self.last) + 2,
            None => match self.config.rule(name, |rule| &rule.order) {
                Some(Order::First) => -1,
                Some(Order::Last) => 1,
                Some(Order::Any) | None => 0,
            },
        };
        let kept = self.keeps(name) && best(&self.exclude, name).is_none();
        Ok(Rule {
            stays: !self.takes(name),
            stays_because: if kept { StayKind::Kept } else { StayKind::NotSelected },
            technique,
            technique_origin,
            rank,
            offline: self.offline,
            owned: self.owned,
            max_downtime_ms: self.max_downtime(name).map(|limit| limit.as_millis() as u64),
        })
    }
}

fn patterns(option: &'static str, texts: &[String]) -> Result<Vec<Pattern>, SelectError> {
    let pattern = |text: &String| match Glob::new(text) {
        Ok(glob) => Ok(Pattern { option, text: text.clone(), glob: glob.compile_matcher() }),
        Err(error) => Err(SelectError::Invalid { option, pattern: text.clone(), reason: error.kind().to_string() }),
    };
    texts.iter().map(pattern).collect()
}

enum Either {
    One,
    Other,
}

/// Which of two opposite options names the domain more closely; neither if none names it.
fn either(name: &str, one: &[Pattern], other: &[Pattern]) -> Result<Option<Either>, SelectError> {
    match (best(one, name), best(other, name)) {
        (None, None) => Ok(None),
        (Some(_), None) => Ok(Some(Either::One)),
        (None, Some(_)) => Ok(Some(Either::Other)),
        (Some(one), Some(other)) if one.rank(name) > other.rank(name) => Ok(Some(Either::One)),
        (Some(one), Some(other)) if one.rank(name) < other.rank(name) => Ok(Some(Either::Other)),
        (Some(one), Some(other)) => Err(SelectError::Both {
            domain: name.to_owned(),
            one: format!("{} {:?}", one.option, one.text),
            other: format!("{} {:?}", other.option, other.text),
        }),
    }
}

/// The pattern that names the domain most closely.
fn best<'a>(patterns: &'a [Pattern], name: &str) -> Option<&'a Pattern> {
    patterns.iter().filter(|pattern| pattern.rank(name) > 0).max_by_key(|pattern| pattern.rank(name))
}

/// The place of the pattern that names the domain most closely, the first of equals.
fn place(name: &str, patterns: &[Pattern]) -> i32 {
    let places = 0..patterns.len();
    places.max_by_key(|&i| (patterns[i].rank(name), Reverse(i))).map_or(0, |i| i as i32)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::Command;
    use crate::cli::resolve::resolve;
    use crate::domain::DomainState;
    use crate::profile::fixture;

    fn select(options: &[&str]) -> Result<Vec<(bool, Option<Technique>)>, String> {
        Ok(configured("", options)?.into_iter().map(|rule| (rule.stays, rule.technique)).collect())
    }

    /// The rules by a configuration file and options.
    fn configured(file: &str, options: &[&str]) -> Result<Vec<Rule>, String> {
        let configuration = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&configuration, file).unwrap();
        let arguments = ["tsmig", "plan", "host-a", "host-b", "--config"].iter().map(OsString::from);
        let arguments = arguments.chain([configuration.path().into()]).chain(options.iter().map(OsString::from));
        let (cli, config) = resolve(arguments).map_err(|error| error.to_string())?;
        let Command::Plan(plan) = cli.command else { unreachable!("parsed as plan") };
        let running = |name| (name, name, DomainState::Running);
        let source = fixture::host("host-a", &["db", "web-1", "web-2"].map(running));
        let destination = fixture::host("host-b", &[running("moved")]);
        let rules = Selection::new(&plan.planning, &config).and_then(|chosen| chosen.rules(&source, &destination));
        rules.map_err(|error| error.to_string())
    }

    #[test]
    fn everything_moves_freely_by_default() {
        assert_eq!(select(&[]), Ok(vec![(false, None); 3]));
    }

    #[test]
    fn only_and_exclude_narrow() {
        let stays = |options| select(options).map(|rules| rules.into_iter().map(|rule| rule.0).collect::<Vec<_>>());
        assert_eq!(stays(&["--only", "web-*"]), Ok(vec![true, false, false]));
        assert_eq!(stays(&["--only", "web-*", "--exclude", "web-2"]), Ok(vec![true, false, true]));
        assert_eq!(stays(&["--exclude", "web-{1,2}"]), Ok(vec![false, true, true]));
    }

    #[test]
    fn what_has_moved_already_may_be_named_again() {
        assert_eq!(select(&["--only", "moved"]).map(|rules| rules.iter().filter(|rule| !rule.0).count()), Ok(0));
        assert_eq!(select(&["--post-copy", "moved", "--first", "moved"]), Ok(vec![(false, None); 3]));
    }

    #[test]
    fn a_name_beats_a_glob_beats_the_general_technique() {
        let rules = select(&["--technique", "post-copy", "--pre-copy", "web-*", "--post-copy", "web-2"]);
        let techniques: Vec<_> = rules.expect("no contradiction").into_iter().map(|rule| rule.1).collect();
        assert_eq!(techniques, [Some(Technique::PostCopy), Some(Technique::PreCopy), Some(Technique::PostCopy)]);
    }

    #[test]
    fn contradictions_and_misspelt_names_are_errors() {
        let error = select(&["--pre-copy", "web-*", "--post-copy", "w*"]).expect_err("both");
        assert!(error.contains("web-1") && error.contains("w*"), "{error}");
        let error = select(&["--exclude", "dbb"]).expect_err("no match");
        assert!(error.contains("--exclude") && error.contains("db, web-1, web-2"), "{error}");
        assert!(select(&["--only", "web-[1"]).is_err());
        let error = select(&["--first", "db", "--last", "db"]).expect_err("both");
        assert!(error.contains("--first") && error.contains("--last"), "{error}");
    }

    const FILE: &str = "[defaults]\ntechnique = 'pre-copy'\n\
        [[domains]]\nmatch = 'web-*'\ntechnique = 'post-copy'\norder = 'first'\n\
        [[domains]]\nmatch = 'db'\nkeep = true";

    #[test]
    fn rules_of_the_configuration_beat_its_defaults() {
        let rules = configured(FILE, &[]).unwrap();
        assert_eq!(rules.iter().map(|rule| rule.stays).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(rules[0].stays_because, StayKind::Kept);
        let techniques: Vec<_> = rules.iter().map(|rule| rule.technique).collect();
        assert_eq!(techniques, [Technique::PreCopy, Technique::PostCopy, Technique::PostCopy].map(Some));
        assert_eq!(rules[1].technique_origin, Some("the configuration"));
        assert_eq!(rules.iter().map(|rule| rule.rank).collect::<Vec<_>>(), [0, -1, -1]);
    }

    #[test]
    fn what_goes_first_or_last_goes_in_the_order_given() {
        let ranks =
            |options: &[&str]| configured(FILE, options).unwrap().iter().map(|rule| rule.rank).collect::<Vec<_>>();
        let ordered = |options, expected: [usize; 3]| {
            let ranks = ranks(options);
            let mut order = [0, 1, 2];
            order.sort_by_key(|&i| ranks[i]);
            assert_eq!(order, expected, "{options:?}: {ranks:?}");
        };
        // The configuration has web-* first.
        ordered(&["--first", "web-2", "--first", "db"], [2, 0, 1]);
        ordered(&["--first", "db", "--first", "web-*", "--first", "web-2"], [0, 1, 2]);
        ordered(&["--last", "web-2", "--last", "web-1"], [0, 2, 1]);
    }

    #[test]
    fn the_most_downtime_is_that_typed_else_the_rule_s_else_the_default() {
        let limits = |options: &[&str]| {
            let file = "[defaults]\nmax-downtime = '1s'\n[[domains]]\nmatch = 'web-*'\nmax_downtime = '2500ms'";
            configured(file, options).unwrap().iter().map(|rule| rule.max_downtime_ms).collect::<Vec<_>>()
        };
        assert_eq!(limits(&[]), [Some(1000), Some(2500), Some(2500)]);
        assert_eq!(limits(&["--max-downtime", "5s"]), [Some(5000); 3]);
        assert_eq!(configured("", &[]).unwrap()[0].max_downtime_ms, None);
        let error = configured("", &["--max-downtime", "200ms"]).unwrap_err();
        assert!(error.contains("300ms"), "{error}");
    }

    #[test]
    fn options_beat_the_configuration() {
        let rules = configured(FILE, &["--technique", "auto", "--only", "db", "--last", "web-2"]).unwrap();
        assert_eq!(rules.iter().map(|rule| rule.stays).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(rules.iter().map(|rule| rule.technique).collect::<Vec<_>>(), [None; 3]);
        assert_eq!(rules.iter().map(|rule| rule.rank).collect::<Vec<_>>(), [0, -1, 2]);
        assert_eq!(configured(FILE, &["--pre-copy", "web-1"]).unwrap()[1].technique, Some(Technique::PreCopy));
    }
}
