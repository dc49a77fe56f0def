//! A whole centre and its parts, for several tests.

pub(crate) mod cli_fixture;
pub(crate) mod config_fixture;
pub(crate) mod instance_log;
pub(crate) mod machine;
pub(crate) mod program;
pub(crate) mod slurm;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod test_site;
pub(crate) mod transfer;
