//! Follows a job's output: what its files have, and what is added until the job has ended and the
//! last byte is read.
//!
//! Reads the files by descriptor, from at most [`BEFORE_MAX`] bytes before their end, in UTF-8 that
//! no piece cuts. A client that does not take the output stops the reading. While Slurm does not
//! answer, the job is not taken to have ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::error::JobsError;
use super::record::{JobFolder, RecordState};
use super::{Jobs, Site};
use crate::files::Files;
use crate::files::outgoing::Outgoing;
use crate::terminal::Decoder;
use countersign_keys::identity::CoreJobId;
use countersign_slurm::{STDERR, STDOUT, SlurmJobId};

/// How far before the end of a file a follower begins, in bytes: more than a page shows.
const BEFORE_MAX: u64 = 4 * 1024 * 1024;
/// Bytes read of a file at once.
const PIECE: usize = 64 * 1024;
/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often Slurm is asked whether the job still runs.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long after the end of a job its files must stay as they are: file servers are late.
const QUIET_AFTER_END: Duration = Duration::from_secs(2);
/// Most nodes whose output is followed. The first has everything that most scripts write.
const RANKS_MAX: u32 = 32;
/// Longest time that a character may be cut in two, in bytes.
const CUT_MAX: usize = 3;

/// A piece of output.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Piece {
    pub(crate) rank: u32,
    pub(crate) channel: Channel,
    pub(crate) text: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Channel {
    Stdout,
    Stderr,
}

/// A file of output.
#[derive(Debug)]
struct Tail {
    rank: u32,
    channel: Channel,
    path: String,
    open: Option<(Arc<Outgoing>, u64)>,
    /// Whether the next piece may begin within a character.
    is_mid: bool,
    decoder: Decoder,
}

impl Jobs {
    /// Sends a job's output until the job has ended and everything is sent, or the receiver is
    /// gone.
    pub(crate) async fn follow(&self, id: &str, pieces: mpsc::Sender<Piece>) -> Result<(), JobsError> {
        let site = self.site()?;
        let id = CoreJobId::parse(id).map_err(|_| JobsError::NoSuchJob)?;
        let record = site.records.read(&id).await?.ok_or(JobsError::NoSuchJob)?;
        let running = match record.state {
            RecordState::AboutToSubmit => return Err(JobsError::BeingSubmitted),
            RecordState::Submitted { slurm_id } => Some(slurm_id),
            RecordState::Ended { .. } => None,
        };
        let tails = tails(&record.folder, record.nodes);
        site.follow(tails, running, &pieces).await;
        Ok(())
    }
}

impl Site {
    async fn follow(&self, mut tails: Vec<Tail>, running: Option<SlurmJobId>, pieces: &mpsc::Sender<Piece>) {
        let mut running = running;
        let (mut ask_at, mut changed_at) = (Instant::now(), Instant::now());
        while !pieces.is_closed() {
            if let Some(slurm_id) = running
                && Instant::now() >= ask_at
            {
                match self.is_waiting_or_running(slurm_id).await {
                    Ok(false) => (running, changed_at) = (None, Instant::now()),
                    Ok(true) => {}
                    Err(failure) => tracing::warn!(%slurm_id, %failure, "cannot ask Slurm about a followed job"),
                }
                ask_at = Instant::now() + ASK_EVERY;
            }
            let mut is_new = false;
            for tail in &mut tails {
                while let Some(text) = tail.next(&self.files).await {
                    is_new = true;
                    let (rank, channel) = (tail.rank, tail.channel);
                    if !text.is_empty() && pieces.send(Piece { rank, channel, text }).await.is_err() {
                        return;
                    }
                }
            }
            if is_new {
                changed_at = Instant::now();
            } else if running.is_none() && changed_at.elapsed() >= QUIET_AFTER_END {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        for tail in &mut tails {
            let text = tail.decoder.finish();
            if !text.is_empty() {
                let _ = pieces.send(Piece { rank: tail.rank, channel: tail.channel, text }).await;
            }
        }
    }

    /// Whether Slurm has a job of that number of this account that has not ended.
    pub(super) async fn is_waiting_or_running(&self, id: SlurmJobId) -> Result<bool, JobsError> {
        let row = self.commands.job(id).await?;
        Ok(row.is_some_and(|row| row.uid == self.uid && !row.has_ended()))
    }
}

/// The files of a job's output: those of the first node, and those that scripts write for others.
fn tails(folder: &JobFolder, nodes: u32) -> Vec<Tail> {
    let tail = |rank, channel, name: &str| Tail {
        rank,
        channel,
        path: folder.file(name),
        open: None,
        is_mid: false,
        decoder: Decoder::default(),
    };
    let mut tails = vec![tail(0, Channel::Stdout, STDOUT), tail(0, Channel::Stderr, STDERR)];
    for rank in 0..nodes.min(RANKS_MAX) {
        tails.push(tail(rank, Channel::Stdout, &format!("std-{rank}.out")));
        tails.push(tail(rank, Channel::Stderr, &format!("std-{rank}.err")));
    }
    tails
}

impl Tail {
    /// The next text; `None` at the present end of the file. Empty if a character is incomplete.
    async fn next(&mut self, files: &Files) -> Option<String> {
        let (file, offset) = match self.open.take() {
            Some(open) => open,
            None => {
                // It may not exist yet.
                let file = Arc::new(files.outgoing(&self.path).await.ok()?);
                let offset = file.length.saturating_sub(BEFORE_MAX);
                self.is_mid = offset > 0;
                (file, offset)
            }
        };
        let reading = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = vec![0; PIECE];
            let length = reading.read_some(offset, &mut piece)?;
            piece.truncate(length);
            std::io::Result::Ok(piece)
        });
        let piece = match read.await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot read a job's output");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        let length = u64::try_from(piece.len()).unwrap_or(0);
        self.open = Some((file, offset.saturating_add(length)));
        if piece.is_empty() {
            return None;
        }
        let is_mid = std::mem::take(&mut self.is_mid);
        let cut = if is_mid { piece.iter().take(CUT_MAX).take_while(|byte| **byte & 0xC0 == 0x80).count() } else { 0 };
        Some(self.decoder.decode(piece.get(cut..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests;
