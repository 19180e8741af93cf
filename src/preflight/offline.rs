//! What a domain that does not run has beside its definition. When only the definition moves, libvirt leaves that behind
//! or deletes it.

use crate::libvirt::facts::{Belongings, KeptFile};
use crate::obstacle::Obstacle;
use crate::plan::Note;

/// What keeps the definition of a domain from moving from the first host to the second.
pub(crate) fn obstacles(hosts: (&str, &str), domain: &str, found: &Belongings) -> Vec<Obstacle> {
    let (source, destination, name) = (|| hosts.0.to_owned(), || hosts.1.to_owned(), || domain.to_owned());
    let mut obstacles = Vec::new();
    if let Some(state) = found.active {
        obstacles.push(Obstacle::Started { state, source: source() });
    }
    if found.saved {
        obstacles.push(Obstacle::ManagedSave { name: name(), source: source() });
    }
    if let count @ 1.. = found.checkpoints {
        let (source, destination) = (source(), destination());
        obstacles.push(Obstacle::Checkpoints { name: name(), source, destination, count });
    }
    if found.tpm {
        obstacles.push(Obstacle::Tpm { name: name(), destination: destination() });
    }
    obstacles.extend(found.files.iter().filter(|file| !is_shared(file)).map(|file| Obstacle::KeptFile {
        name: name(),
        source: source(),
        destination: destination(),
        file: file.what.to_owned(),
        path: file.path.clone(),
        at_destination: file.at_destination,
    }));
    obstacles
}

/// What is taken to be at the destination already.
pub(super) fn assumptions(destination: &str, domain: &str, found: &Belongings) -> Vec<Note> {
    let shared = found.files.iter().filter(|file| is_shared(file));
    let assumed = |KeptFile { what, path, .. }: &KeptFile| Note::TakenAsShared {
        domain: domain.to_owned(),
        destination: destination.to_owned(),
        file: (*what).to_owned(),
        path: path.clone(),
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
        let obstacles = obstacles(("host-a", "host-b"), "web", found);
        obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
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
        let assumed = assumptions("host-b", "web", &shared)[0].to_string();
        assert!(assumed.contains("/srv/shared/web.fd") && assumed.contains("host-b"), "{assumed}");
        let own = nvram("/var/lib/libvirt/qemu/nvram/web_VARS.fd", Some(true));
        assert!(of(&own).contains("may be older"), "{}", of(&own));
        assert!(assumptions("host-b", "web", &own).is_empty());
        assert!(of(&nvram("/srv/shared/web.fd", None)).contains("can't tell"));
    }
}
