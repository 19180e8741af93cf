//! What a domain that does not run has beside its definition. When only the definition moves, libvirt leaves that behind
//! or deletes it.

use crate::libvirt::facts::{Belongings, KeptFile};

/// The findings about a domain that is to move from `source` to `destination`. The first words of each say what it has.
pub(crate) fn findings(source: &str, destination: &str, domain: &str, found: &Belongings) -> Vec<String> {
    let mut findings = Vec::new();
    // Not paused: QEMU writes the NVRAM at the destination only when the domain runs there.
    let take_along = format!("start the domain (virsh start {domain}) and move it while it runs");
    if let Some(state) = found.active {
        findings.push(format!("it is {state} at {source}, and only its definition was to move; run this again"));
    }
    if found.saved {
        findings.push(format!(
            "it has a managed-save image, which libvirt leaves at {source}; {take_along}, or \
             delete the image (virsh managedsave-remove {domain})"
        ));
    }
    if found.checkpoints > 0 {
        let count = if found.checkpoints == 1 { "a checkpoint" } else { "checkpoints" };
        findings.push(format!(
            "it has {count}, which libvirt deletes at {source} and does not copy; delete what there is (virsh \
             checkpoint-list {domain}, virsh checkpoint-delete {domain} NAME --metadata) and begin with a full backup at \
             {destination}"
        ));
    }
    if found.tpm {
        findings.push(format!(
            "it has a TPM, whose state libvirt does not copy to {destination}; {take_along}, or exclude it"
        ));
    }
    for file in found.files.iter().filter(|file| !is_shared(file)) {
        let KeptFile { what, path, at_destination } = file;
        findings.push(match at_destination {
            Some(true) => format!(
                "its {what} ({path}) is in a directory of {source}'s own, and what {destination} has there may be older; \
                 {take_along}, or exclude it"
            ),
            Some(false) => {
                format!("its {what} ({path}) is not at {destination}; copy it there, or {take_along}")
            }
            None => format!(
                "libvirt can't tell whether its {what} ({path}) is at {destination}; {take_along}, or exclude it"
            ),
        });
    }
    findings
}

/// What is taken to be at the destination already, as clauses after the domain's name.
pub(super) fn assumptions(destination: &str, found: &Belongings) -> Vec<String> {
    let shared = found.files.iter().filter(|file| is_shared(file));
    let assumed = |KeptFile { what, path, .. }: &KeptFile| {
        format!("its {what} ({path}) at {destination} is taken to be the same file, as on shared storage")
    };
    shared.map(assumed).collect()
}

/// Whether the file counts as one that both hosts see, as a disk at the same path does. In libvirt's own directory each
/// host has its own: one that is there, too, may be from the domain's last stay.
fn is_shared(file: &KeptFile) -> bool {
    file.at_destination == Some(true) && !file.path.contains("/libvirt/qemu/nvram/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DomainState;

    fn of(found: &Belongings) -> String {
        findings("host-a", "host-b", "web", found).join("\n")
    }

    fn nvram(path: &str, at_destination: Option<bool>) -> Belongings {
        let file = KeptFile { what: "NVRAM", path: path.to_owned(), at_destination };
        Belongings { files: vec![file], ..Belongings::default() }
    }

    #[test]
    fn each_is_named_with_what_to_do() {
        assert_eq!(of(&Belongings::default()), "");
        let all = Belongings {
            active: Some(DomainState::Running),
            saved: true,
            checkpoints: 2,
            tpm: true,
            ..nvram("/nvram.fd", Some(false))
        };
        let found = of(&all);
        for words in [
            "it is running at host-a",
            "managed-save image, which libvirt leaves at host-a",
            "virsh managedsave-remove web",
            "it has checkpoints, which libvirt deletes at host-a",
            "virsh checkpoint-delete web NAME --metadata",
            "it has a TPM",
            "virsh start web",
            "its NVRAM (/nvram.fd) is not at host-b; copy it there",
        ] {
            assert!(found.contains(words), "{words:?} is not in {found}");
        }
    }

    #[test]
    fn a_file_at_both_hosts_is_the_same_one_unless_it_lies_where_each_host_has_its_own() {
        let shared = nvram("/srv/shared/web.fd", Some(true));
        assert_eq!(of(&shared), "");
        let assumed = assumptions("host-b", &shared).join("");
        assert!(assumed.contains("/srv/shared/web.fd") && assumed.contains("host-b"), "{assumed}");
        let own = nvram("/var/lib/libvirt/qemu/nvram/web_VARS.fd", Some(true));
        assert!(of(&own).contains("may be older"), "{}", of(&own));
        assert!(assumptions("host-b", &own).is_empty());
        assert!(of(&nvram("/srv/shared/web.fd", None)).contains("can't tell"));
    }
}
