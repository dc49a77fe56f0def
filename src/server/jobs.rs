//! Jobs on Slurm: which accounts have submitted, how each stands, and what Core was told.
//!
//! One poller asks Slurm for the whole site. An account's report of a job is believed only as far
//! as Slurm shows that the job is that account's. Core is told each change once, and decides
//! nothing here.

mod begun;
pub(crate) mod choice_table;
pub(crate) mod choices;
pub(crate) mod core_calls;
pub(crate) mod decide;
mod forecast;
pub(crate) mod operator;
pub(crate) mod outside;
pub(crate) mod poller;
pub(crate) mod reconcile;
mod records;
pub(crate) mod register;
pub(crate) mod reports;
pub(crate) mod table;
pub(crate) mod teller;
#[cfg(test)]
mod tests;

use countersign_config::Slurm;
use countersign_slurm::Commands;

/// Slurm's programs, as the configuration names them.
pub(crate) fn commands_of(slurm: &Slurm) -> Commands {
    Commands::new(slurm.commands.clone(), slurm.config.clone())
}
