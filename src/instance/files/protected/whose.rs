//! The owner of a protected folder.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Countersign's: keys, journal, state.
    Countersign,
    Ssh,
}

impl Whose {
    /// The text for the user.
    pub(in crate::files) const fn sentence(self) -> &'static str {
        match self {
            Self::Countersign => "this folder belongs to Countersign and cannot be used through UCloud",
            Self::Ssh => "this folder holds your SSH keys and cannot be used through UCloud",
        }
    }
}
