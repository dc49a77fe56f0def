//! The allow-list of [`super::calls`] as a seccomp filter.
//!
//! Since Linux 5.11 the kernel caches which calls pass whatever their arguments are, and skips the
//! filter for those. A request uses only such calls. For other calls the filter runs some hundred
//! instructions.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

use super::calls::{self, If, List};

/// What happens to a call that is not on the list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Otherwise {
    /// It fails with `EPERM`.
    Refuse,
    /// It passes, and the kernel logs it.
    Log,
}

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum NoFilter {
    /// It cannot be built, for example for this processor.
    #[error("cannot build the filter")]
    Made(#[from] BackendError),
    /// The kernel refuses it.
    #[error("the kernel refuses the filter (it needs CONFIG_SECCOMP_FILTER)")]
    Taken(#[from] seccompiler::Error),
}

/// With `gateway.sandbox = "log"` nothing is refused.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("gateway.sandbox is \"log\": the kernel logs what would be refused")]
pub(super) struct OnlyLogged;

/// Installs the filter irrevocably on every thread of this process.
pub(super) fn install(has_tcp: bool, otherwise: Otherwise) -> Result<(), NoFilter> {
    let architecture = std::env::consts::ARCH.try_into()?;
    // Only after `ENOSYS` from clone3 does the C library create threads with the older call, whose
    // arguments a filter can check. Both filters apply to each call. The list is installed second,
    // and its `EPERM` would prevail, so it has to let clone3 pass.
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
