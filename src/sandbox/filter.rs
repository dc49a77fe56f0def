//! The allow-list of [`super::calls`] as a seccomp filter.
//!
//! The kernel remembers for each call whether the filter lets it pass whatever its arguments are
//! (since Linux 5.11), and does not run the filter for those: of what a request takes, none is
//! looked at. For the rest the filter is some hundred instructions.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

use super::calls::{self, If, List};

/// What becomes of a call that is not on the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Otherwise {
    /// It fails with `EPERM`.
    Refuse,
    /// It goes on, and the kernel logs it.
    Log,
}

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoFilter {
    /// For this processor, say.
    #[error("the filter cannot be made")]
    Made(#[from] BackendError),
    /// By the kernel.
    #[error("the kernel does not take the filter (it needs CONFIG_SECCOMP_FILTER)")]
    Taken(#[from] seccompiler::Error),
}

/// What `gateway.sandbox = "log"` means.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("gateway.sandbox is \"log\", and the kernel's log has what would have been refused")]
pub(super) struct OnlyLogged;

/// Puts the filter on every thread of this process, for good.
pub(super) fn install(has_tcp: bool, otherwise: Otherwise) -> Result<(), NoFilter> {
    let architecture = std::env::consts::ARCH.try_into()?;
    // With this answer, and no other, the C library makes its threads with the older call, whose
    // arguments a filter can see. Both filters are asked for each call, and this one goes first:
    // the list has to let it pass.
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let older = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let older = SeccompFilter::new(older, SeccompAction::Allow, absent, architecture)?;
    let refused = match otherwise {
        Otherwise::Refuse => SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        Otherwise::Log => SeccompAction::Log,
    };
    let list = SeccompFilter::new(rules(&calls::list(has_tcp))?, refused, SeccompAction::Allow, architecture)?;
    let (older, list): (BpfProgram, BpfProgram) = (older.try_into()?, list.try_into()?);
    apply_filter_all_threads(&older)?;
    apply_filter_all_threads(&list)?;
    Ok(())
}

fn rules(list: &List) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    rules.extend(list.always.iter().map(|call| (*call, Vec::new())));
    for (call, conditions) in &list.only_if {
        let conditions = conditions.iter().map(condition).collect::<Result<_, _>>()?;
        rules.entry(*call).or_default().push(SeccompRule::new(conditions)?);
    }
    Ok(rules)
}

fn condition(condition: &If) -> Result<SeccompCondition, BackendError> {
    let (argument, operator, value) = match *condition {
        If::Is(argument, value) => (argument, SeccompCmpOp::Eq, value),
        If::Among(argument, mask, value) => (argument, SeccompCmpOp::MaskedEq(u64::from(mask)), value),
    };
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, u64::from(value))
}
