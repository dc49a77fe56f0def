//! The interfaces of a job that users can open: the application's own, and the targets that its
//! script names. Both come from what the user signed and the site approved; the job's record keeps
//! them.

use countersign_applications::{self as applications, ApplicationType, Rendered, Startable, TargetKind};
use countersign_keys::session::InterfaceKind;
use countersign_keys::store::jobs::{TARGETS_MAX, Target};
use serde::{Deserialize, Serialize};

/// What users can open of a job, in its record.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Interfaces {
    /// The application's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    own: Option<InterfaceKind>,
    /// What its VNC server asks viewers for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vnc_password: Option<String>,
    /// What the script names. A target's number is its place, from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Target>,
}

impl Interfaces {
    /// Those of a rendered job; `None` if it names too many.
    pub(super) fn of(startable: &Startable, rendered: &Rendered) -> Option<Self> {
        if rendered.targets.len() > TARGETS_MAX {
            return None;
        }
        let (own, vnc_password) = match startable {
            Startable::Approved(approved) => {
                let invocation = approved.invocation();
                let own = match invocation.application_type() {
                    ApplicationType::Web => Some(InterfaceKind::Web),
                    ApplicationType::Vnc => Some(InterfaceKind::Vnc),
                    ApplicationType::Batch => None,
                };
                (own, invocation.vnc_password().map(str::to_owned))
            }
            Startable::WorkflowOnly(_) => (None, None),
        };
        let named = |target: &applications::Target| Target {
            rank: target.rank,
            kind: match target.kind {
                TargetKind::Web => InterfaceKind::Web,
                TargetKind::Vnc => InterfaceKind::Vnc,
            },
            name: target.name.clone(),
            port: target.port,
        };
        Some(Self { own, vnc_password, targets: rendered.targets.iter().map(named).collect() })
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the application has an interface itself.
    pub(super) const fn has_own(&self) -> bool {
        self.own.is_some()
    }

    /// What the script names.
    pub(super) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The password for viewers of a desktop.
    pub(super) fn password(&self, kind: InterfaceKind) -> Option<String> {
        self.vnc_password.clone().filter(|_| kind == InterfaceKind::Vnc)
    }

    /// The number of the interface that a user names; `None` if there is none of that kind.
    pub(super) fn find(&self, kind: InterfaceKind, rank: u32, name: Option<&str>) -> Option<Option<u32>> {
        let Some(name) = name else { return (self.own == Some(kind)).then_some(None) };
        let is_it = |target: &Target| target.kind == kind && target.rank == rank && target.name == name;
        let at = self.targets.iter().position(is_it)?;
        u32::try_from(at).ok()?.checked_add(1).map(Some)
    }

    /// The ports of the targets on a node.
    pub(super) fn ports(&self, rank: u32) -> Vec<u16> {
        self.targets.iter().filter(|target| target.rank == rank).map(|target| target.port).collect()
    }

    /// The port of the target of that number.
    pub(super) fn port(&self, number: u32) -> Option<u16> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.targets.get(at).map(|target| target.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j06_an_interface_is_one_that_the_job_has() {
        let target = |rank, kind, name: &str, port| Target { rank, kind, name: name.to_owned(), port };
        let interfaces = Interfaces {
            own: Some(InterfaceKind::Web),
            vnc_password: None,
            targets: vec![
                target(0, InterfaceKind::Web, "Dashboard", 8001),
                target(1, InterfaceKind::Web, "Dashboard", 8002),
                target(0, InterfaceKind::Vnc, "Desktop", 5901),
            ],
        };
        let (web, vnc) = (InterfaceKind::Web, InterfaceKind::Vnc);
        for (kind, rank, name, want) in [
            (web, 0, None, Some(None)),
            (vnc, 0, None, None),
            (web, 0, Some("Dashboard"), Some(Some(1))),
            (web, 1, Some("Dashboard"), Some(Some(2))),
            (web, 2, Some("Dashboard"), None),
            (vnc, 0, Some("Dashboard"), None),
            (vnc, 0, Some("Desktop"), Some(Some(3))),
            (web, 0, Some("desktop"), None),
            (web, 0, Some(""), None),
        ] {
            assert_eq!(interfaces.find(kind, rank, name), want, "{kind:?} {rank} {name:?}");
        }
        assert_eq!((interfaces.ports(0), interfaces.ports(1)), (vec![8001, 5901], vec![8002]));
        assert_eq!((interfaces.port(1), interfaces.port(2)), (Some(8001), Some(8002)));
        assert_eq!((interfaces.port(0), interfaces.port(9)), (None, None));
    }
}
