//! What hosts are asked about all that definitions name of theirs.

/// Something that a host is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// libvirt: whether there is a file.
    File(String),
    /// libvirt of both hosts: a network.
    Network(String),
    /// The shell: whether there is something that must not be opened.
    Node(String),
    /// The shell: whether a user may use a file.
    Access { user: String, path: String },
    /// The shell: whether there is a user.
    User(String),
    /// The shells of both hosts: addresses.
    Addresses,
}
