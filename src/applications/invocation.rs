//! An application's program: Core's `invocation`, as typed values.

/// SHA-256 of an invocation's canonical form.
pub type Digest = [u8; 32];

/// An application's invocation. Every member of it is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Invocation {
    digest: Digest,
    is_workflow_only: bool,
}

/// Why a text is refused as an invocation.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvocationRejection {
    /// This build reads none.
    #[error("this provider does not offer this")]
    NotOffered,
}

impl Invocation {
    pub fn parse(_text: &[u8]) -> Result<Self, InvocationRejection> {
        Err(InvocationRejection::NotOffered)
    }

    /// SHA-256 of the canonical form, without `tool.tool.{owner,createdAt,modifiedAt}`.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether it runs nothing but what a workflow parameter says.
    pub const fn is_workflow_only(&self) -> bool {
        self.is_workflow_only
    }
}
