//! What a run checks of its options and configuration beside each value by itself: options that exclude each other, hooks
//! that can be run. `tsmig config check` asks the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{SamplingArgs, resolve};
use crate::config::{Config, ConfigError, Located, Origin, Place, Problem};
use crate::profile::window::{Timing, Window};

/// All problems of a configuration: those of its files, and those that an evacuation without options would meet, in the
/// order of the files.
pub fn all(config: &Config) -> Vec<Problem> {
    let mut problems = config.problems.clone();
    match resolve::evacuation(config, &[]) {
        Ok((arguments, settings)) => {
            let config = Config { settings, ..config.clone() };
            problems.extend(timing(&config, &arguments.sampling).err());
        }
        // Each default was read by its option already.
        Err(error) => problems.push(Problem { place: None, text: error.to_string() }),
    }
    problems.extend(hook_problems(config));
    let file = |problem: &Problem| {
        let place = problem.place.as_ref()?;
        let file = config.files.iter().position(|(path, _)| *path == place.path);
        Some((file, place.line, place.column))
    };
    problems.sort_by_key(file);
    problems
}

pub fn timing(config: &Config, arguments: &SamplingArgs) -> Result<Timing, Problem> {
    let SamplingArgs { window, interval, .. } = *arguments;
    if interval <= window.most() {
        return Ok(Timing { window, interval });
    }
    let most = humantime::format_duration(window.most());
    let window = if window == Window::Auto { format!("{window}, {most} at the most") } else { window.to_string() };
    let text = format!("--interval {} is longer than --window {window}", humantime::format_duration(interval));
    Err(about(config, ["interval", "window"], text))
}

/// Checks that each hook is a program that can be run.
pub fn hooks(config: &Config) -> Result<(), ConfigError> {
    let problems = hook_problems(config);
    if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(problems)) }
}

fn hook_problems(config: &Config) -> Vec<Problem> {
    let problem = |(name, hook): (&&str, &Located<Vec<String>>)| {
        let program = hook.value.first().map_or("", String::as_str);
        let problem = run_problem(Path::new(program))?;
        let text = format!("the {name} hook {program} {problem}; give the path of an executable program");
        Some(Problem { place: place(&hook.origin), text })
    };
    config.hooks.iter().filter_map(problem).collect()
}

fn run_problem(program: &Path) -> Option<String> {
    match fs::metadata(program) {
        Err(error) => Some(format!("can't be run: {error}")),
        Ok(metadata) if !metadata.is_file() => Some("is not a file".to_owned()),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => Some("is not executable".to_owned()),
        Ok(_) => None,
    }
}

/// A problem of two options, at the place in the files that either is from.
fn about(config: &Config, options: [&str; 2], text: String) -> Problem {
    let origin = |option| config.settings.iter().find(|setting| setting.key == option).map(|setting| &setting.origin);
    Problem { place: options.into_iter().find_map(|option| place(origin(option)?)), text }
}

fn place(origin: &Origin) -> Option<Place> {
    match origin {
        Origin::File(place) => Some(place.clone()),
        Origin::Default | Origin::Option => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_in_the_order_of_the_files() {
        let place = |path: &str, line| Place { path: path.into(), line, column: 1 };
        let hook = Located { value: vec!["/no/such/program".to_owned()], origin: Origin::File(place("z.toml", 2)) };
        let config = Config {
            files: vec![("z.toml".into(), true), ("a.toml".into(), true)],
            problems: vec![Problem { place: Some(place("a.toml", 1)), text: "an unknown key".to_owned() }],
            hooks: [("before-run", hook)].into(),
            ..Config::default()
        };
        let problems = all(&config);
        let places: Vec<_> = problems.iter().filter_map(|problem| Some(problem.place.as_ref()?.to_string())).collect();
        assert_eq!(places, ["z.toml:2:1", "a.toml:1:1"], "{problems:?}");
    }
}
