//! Which versions of QEMU a host's guests run in, and which it would start: libvirt tells only of the installed one, and a
//! guest that was started before an upgrade runs in the old one.

use std::collections::{BTreeSet, HashMap};

use super::HostError;
use super::host::Host;
use super::shell::quoted;

/// Of each QEMU that runs, which file it is and which domain is in it; of each file, once, what it says of its version.
/// A file that an upgrade has removed still runs; `driver.pid` is libvirt's own.
const RUNNING: &str = r#"
seen=
for file in /run/libvirt/qemu/*.pid; do
  name=${file##*/} name=${name%.pid}
  exe=/proc/$(cat "$file")/exe
  [ "$name" != driver ] && inode=$(stat -Lc %d:%i "$exe") || continue
  echo "guest $inode $name"
  case " $seen " in
    *" $inode "*) ;;
    *) seen="$seen $inode"; echo "version $inode $("$exe" --version | head -n 1)" ;;
  esac
done 2> /dev/null
"#;

/// What an emulator says of its version, and on which kernel: that has a part in what devices offer the guest.
const INSTALLED: &str = r#"
  version=$("$path" --version 2> /dev/null | head -n 1)
  [ -z "$version" ] || printf '%s\t%s on %s\n' "$path" "$version" "$(uname -sr)"
"#;

impl Host {
    /// The version of QEMU that each domain runs in, by the domain's name, as far as the host's shell can tell.
    ///
    /// # Errors
    /// The host's libvirt did not answer.
    pub fn running_versions(&self) -> Result<HashMap<String, String>, HostError> {
        Ok(self.shell(RUNNING)?.map(|answer| running(&answer)).unwrap_or_default())
    }

    /// The version of each of these emulators, by its path, with that of the kernel, as far as the host's shell can tell.
    ///
    /// # Errors
    /// The host's libvirt did not answer.
    pub fn installed_versions(&self, emulators: &BTreeSet<String>) -> Result<HashMap<String, String>, HostError> {
        let paths: Vec<_> = emulators.iter().map(|path| quoted(path)).collect();
        let script = format!("for path in {}; do{INSTALLED}done", paths.join(" "));
        let answer = if paths.is_empty() { None } else { self.shell(&script)? };
        let line = |line: &str| line.split_once('\t').map(|(path, version)| (path.to_owned(), version.to_owned()));
        Ok(answer.iter().flat_map(|answer| answer.lines()).filter_map(line).collect())
    }
}

fn running(answer: &str) -> HashMap<String, String> {
    let lines = |kind: &'static str| {
        let of_kind = answer.lines().filter_map(move |line| line.strip_prefix(kind)?.split_once(' '));
        of_kind.filter(|(_, text)| !text.is_empty())
    };
    let versions: HashMap<&str, &str> = lines("version ").collect();
    lines("guest ").filter_map(|(exe, name)| Some((name.to_owned(), (*versions.get(exe)?).to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_guest_has_the_version_of_the_file_that_it_runs_in() {
        let answer = "guest 8:1 web\nversion 8:1 QEMU emulator version 10.0.2 (Debian 1)\nguest 8:2 old one\n\
                      version 8:2 \nguest 8:1 db\n";
        let version = "QEMU emulator version 10.0.2 (Debian 1)".to_owned();
        let expected = [("web".to_owned(), version.clone()), ("db".to_owned(), version)].into();
        assert_eq!(running(answer), expected, "one whose file does not run is not known");
    }
}
