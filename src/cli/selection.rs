//! From patterns to rules: which domains of the source move, and which technique the user gave them.
//!
//! Pure. A pattern that matches nothing is an error, since a misspelt name would otherwise move the wrong set; one that
//! matches a domain of the destination alone is none, so that a command can be run again. A domain's own name beats a
//! glob, and two patterns of equal rank that disagree are an error.

use std::cmp::Reverse;

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
}

/// Checks what can be known of the patterns before the domains are.
pub fn check(arguments: &PlanningArgs) -> Result<(), SelectError> {
    let PlanningArgs { only, exclude, pre_copy, post_copy, first, last, .. } = arguments;
    let options = [
        ("--only", only),
        ("--exclude", exclude),
        ("--pre-copy", pre_copy),
        ("--post-copy", post_copy),
        ("--first", first),
        ("--last", last),
    ];
    options.into_iter().try_for_each(|(option, texts)| texts.iter().try_for_each(|text| glob(option, text).map(drop)))
}

fn glob(option: &'static str, text: &str) -> Result<GlobMatcher, SelectError> {
    let glob = Glob::new(text).map_err(|error| SelectError::Invalid {
        option,
        pattern: text.to_owned(),
        reason: error.kind().to_string(),
    })?;
    Ok(glob.compile_matcher())
}

/// Which domains the user wants moved, by their names alone: also of one that was not there when the plan was made.
pub struct Selection {
    only: Vec<Pattern>,
    exclude: Vec<Pattern>,
    config: Config,
}

impl Selection {
    pub fn new(arguments: &PlanningArgs, config: &Config) -> Result<Self, SelectError> {
        Ok(Self {
            only: compile("--only", &arguments.only)?,
            exclude: compile("--exclude", &arguments.exclude)?,
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
}

pub fn rules(
    source: &Profile,
    destination: &Profile,
    arguments: &PlanningArgs,
    config: &Config,
) -> Result<Vec<Rule>, SelectError> {
    let patterns = |option, texts: &[String]| patterns(option, texts, source, destination);
    patterns("--only", &arguments.only)?;
    let exclude = patterns("--exclude", &arguments.exclude)?;
    let selection = Selection::new(arguments, config)?;
    let pre_copy = patterns("--pre-copy", &arguments.pre_copy)?;
    let post_copy = patterns("--post-copy", &arguments.post_copy)?;
    let first = patterns("--first", &arguments.first)?;
    let last = patterns("--last", &arguments.last)?;
    let typed = config.is_typed("technique");
    // What was typed beats the configuration's rules, which beat its default.
    let general = |name: &str| match config.rule(name, |rule| &rule.technique).filter(|_| !typed) {
        Some(technique) => (technique, technique.map(|_| "the configuration")),
        None => (given(arguments.technique), given(arguments.technique).map(|_| "--technique")),
    };
    let rule = |name: &str| {
        let (technique, technique_origin) = match either(name, &pre_copy, &post_copy)? {
            Some(Either::One) => (Some(Technique::PreCopy), Some("--pre-copy")),
            Some(Either::Other) => (Some(Technique::PostCopy), Some("--post-copy")),
            None => general(name),
        };
        let rank = match either(name, &first, &last)? {
            // In the order of the options, outside of what the configuration says.
            Some(Either::One) => place(name, &first) - first.len() as i32 - 1,
            Some(Either::Other) => place(name, &last) + 2,
            None => match config.rule(name, |rule| &rule.order) {
                Some(Order::First) => -1,
                Some(Order::Last) => 1,
                Some(Order::Any) | None => 0,
            },
        };
        let excluded = best(&exclude, name).is_some();
        let stays = !selection.takes(name);
        let kept = selection.keeps(name) && !excluded;
        let stays_because = if kept { StayKind::Kept } else { StayKind::NotSelected };
        Ok(Rule { stays, stays_because, technique, technique_origin, rank, offline: arguments.offline })
    };
    source.domains.iter().map(|domain| rule(&domain.name)).collect()
}

fn given(technique: TechniqueArg) -> Option<Technique> {
    match technique {
        TechniqueArg::Auto => None,
        TechniqueArg::PreCopy => Some(Technique::PreCopy),
        TechniqueArg::PostCopy => Some(Technique::PostCopy),
    }
}

fn patterns(
    option: &'static str,
    texts: &[String],
    source: &Profile,
    destination: &Profile,
) -> Result<Vec<Pattern>, SelectError> {
    let patterns = compile(option, texts)?;
    let domains = || source.domains.iter().chain(&destination.domains);
    match patterns.iter().find(|pattern| domains().all(|domain| pattern.rank(&domain.name) == 0)) {
        None => Ok(patterns),
        Some(pattern) => {
            let names: Vec<_> = source.domains.iter().map(|domain| domain.name.as_str()).collect();
            Err(SelectError::NoMatch {
                option,
                pattern: pattern.text.clone(),
                host: source.host.clone(),
                domains: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
            })
        }
    }
}

fn compile(option: &'static str, texts: &[String]) -> Result<Vec<Pattern>, SelectError> {
    let pattern = |text: &String| Ok(Pattern { option, text: text.clone(), glob: glob(option, text)? });
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
    use std::{process, thread};

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
        let path = std::env::temp_dir().join(format!("tsmig-{}-{:?}.toml", process::id(), thread::current().id()));
        std::fs::write(&path, file).unwrap();
        let arguments = ["tsmig", "plan", "host-a", "host-b", "--config"].iter().map(OsString::from);
        let arguments = arguments.chain([path.clone().into_os_string()]).chain(options.iter().map(OsString::from));
        let (cli, config) = resolve(arguments).map_err(|error| error.to_string())?;
        std::fs::remove_file(path).unwrap();
        let Command::Plan(plan) = cli.command else { unreachable!("parsed as plan") };
        let running = |name| (name, name, DomainState::Running);
        let source = fixture::host("host-a", &["db", "web-1", "web-2"].map(running));
        let destination = fixture::host("host-b", &[running("moved")]);
        rules(&source, &destination, &plan.planning, &config).map_err(|error| error.to_string())
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
    fn options_beat_the_configuration() {
        let rules = configured(FILE, &["--technique", "auto", "--only", "db", "--last", "web-2"]).unwrap();
        assert_eq!(rules.iter().map(|rule| rule.stays).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!(rules.iter().map(|rule| rule.technique).collect::<Vec<_>>(), [None; 3]);
        assert_eq!(rules.iter().map(|rule| rule.rank).collect::<Vec<_>>(), [0, -1, 2]);
        assert_eq!(configured(FILE, &["--pre-copy", "web-1"]).unwrap()[1].technique, Some(Technique::PreCopy));
    }
}
