//! The web and VNC interfaces of a job: which there are, and how they are reached.
//!
//! An interface is the application's own, at the port that its script chose on the node, or a
//! target that the script names. Both come from what the user signed and the site approved. A
//! session is granted for a job of this account's own record alone.

use std::sync::Arc;

use countersign_config::WebPlace;
use countersign_keys::bind::Projection;
use countersign_keys::identity::{CoreJobId, LinkName};
use countersign_keys::json::Json;
use countersign_keys::session::InterfaceKind;
use tokio::time::Duration;

use super::error::JobsError;
use super::record::Record;
use super::relay::{Relay, Step};
use super::shell::JobShell;
use super::{Jobs, OwnJob, Site, in_time};
use crate::call::text;

/// How long the way to an interface may take to be found.
const LOOK_UP_MAX: Duration = Duration::from_secs(15);

/// Where the script writes the port that it has chosen.
const PORT_FILE: &str = "allocated-port.txt";

/// Longest content of that file: five digits and the end of the line.
const PORT_FILE_MAX: usize = 16;

/// Lowest port: those below are root's.
pub(super) const PORT_MIN: u16 = 1024;

/// An interface for which a token is made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Interface {
    pub(crate) place: WebPlace,
    /// For the user's viewer.
    pub(crate) password: Option<String>,
}

impl Jobs {
    /// Checks that a job is this account's and has the interface that the user signed for. Whether
    /// it runs is found out when the token is redeemed.
    pub(crate) async fn interface(&self, item: &Projection<'_>, kind: InterfaceKind) -> Result<Interface, JobsError> {
        let JobShell { id, rank } = JobShell::read(&text(item, "id"), item.parameter("rank"))?;
        let rank = u32::try_from(rank).map_err(|_| JobsError::NoInterface)?;
        let named = item.parameter("target");
        let name = if *named == Json::Null { None } else { Some(named.as_str().ok_or(JobsError::NoInterface)?) };
        let OwnJob { id, record, .. } = self.site()?.job(id.as_str()).await?;
        let target = record.interfaces.find(kind, rank, name).filter(|_| rank < record.nodes);
        let target = target.ok_or(JobsError::NoInterface)?;
        let password = record.interfaces.password(kind);
        Ok(Interface { place: WebPlace { job: id, rank, target }, password })
    }

    /// The way to an interface of a running job, and its port there.
    pub(crate) async fn reach(&self, place: &WebPlace) -> Result<(Arc<Relay>, u16), JobsError> {
        let wanted = |record: &Record| match place.target {
            None => record.interfaces.has_own().then_some(Wanted::Own),
            Some(number) => record.interfaces.port(number).map(Wanted::Port),
        };
        in_time(LOOK_UP_MAX, self.site()?.reach(&place.job, place.rank, wanted)).await
    }

    /// The way to what a public link of a running job leads to, and its port there.
    pub(crate) async fn reach_link(&self, job: &CoreJobId, name: &LinkName) -> Result<(Arc<Relay>, u16), JobsError> {
        let wanted = |record: &Record| Some(record.link(name)?.port.map_or(Wanted::Own, Wanted::Port));
        in_time(LOOK_UP_MAX, self.site()?.reach(job, 0, wanted)).await
    }
}

/// A port of a job.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// The one that the script chooses.
    Own,
    Port(u16),
}

impl Site {
    async fn reach(
        &self,
        job: &CoreJobId,
        rank: u32,
        wanted: impl FnOnce(&Record) -> Option<Wanted>,
    ) -> Result<(Arc<Relay>, u16), JobsError> {
        let at = usize::try_from(rank).map_err(|_| JobsError::NoInterface)?;
        let (OwnJob { id, record, slurm_id }, node) = self.running(job.as_str(), at).await?;
        let wanted = wanted(&record).ok_or(JobsError::NoInterface)?;
        let mut ports = record.ports(rank);
        // Another port needs it no more than a script that has not come so far.
        let chosen =
            if record.interfaces.has_own() { self.chosen_port(&record).await } else { Err(JobsError::NoInterface) };
        ports.extend(chosen.as_ref().ok());
        let port = match wanted {
            Wanted::Own => chosen?,
            Wanted::Port(port) => port,
        };
        ports.sort_unstable();
        ports.dedup();
        let step = Step { job: id, slurm_id, node, ports };
        let relay = self.relays.start(step, &self.commands, &self.relay_program).await?;
        Ok((relay, port))
    }

    /// The port that the job's script has chosen. The file is in a folder of this account's, as the
    /// job of this account wrote it; the relay checks who listens there.
    async fn chosen_port(&self, record: &Record) -> Result<u16, JobsError> {
        let file = self.files.outgoing(&record.folder.file(PORT_FILE)).await;
        let file = file.map_err(|_absent| JobsError::NotListening)?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut read = [0; PORT_FILE_MAX];
            let length = file.read_some(0, &mut read)?;
            Ok::<_, std::io::Error>(read.get(..length).unwrap_or_default().to_vec())
        });
        let read = reading.await.map_err(|_| JobsError::CutShort)?.map_err(|_| JobsError::NotListening)?;
        port(&read).ok_or(JobsError::NotListening)
    }
}

fn port(text: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
    text.parse().ok().filter(|port: &u16| *port >= PORT_MIN && port.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_whole_line() {
        for (text, want) in [
            ("8080\n", Some(8080)),
            ("65535\n", Some(65535)),
            ("8080", None),
            ("808", None),
            ("80\n", None),
            ("65536\n", None),
            ("+8080\n", None),
            ("8080\n8081\n", None),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(port(text.as_bytes()), want, "{text:?}");
        }
    }
}
