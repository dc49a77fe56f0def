//! A stand-in for sudo and for the instance that it would start: the dummy takes the place of the
//! socket on which that instance would listen. So the users of a store have an instance each, as
//! far as gateway and server can tell, and the configuration names none of them. It is put in the
//! place of the real sudo, in the namespace that `tests/support/installation.sh` throws away.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::error::BenchError;

/// What the server starts.
const SUDO: &str = "/usr/bin/sudo";
/// Where that script keeps what is written to `/usr/bin`. A real machine has no such directory.
const THROWN_AWAY: &str = "/run/overlay/usr/bin/upper";

/// Replaces sudo. The upstream has to be a Unix socket of the account that runs the server.
pub(crate) fn replace_sudo(upstream: &Path) -> Result<(), BenchError> {
    if !Path::new(THROWN_AWAY).is_dir() {
        return Err(BenchError::Empty("--stored runs only inside tests/support/installation.sh"));
    }
    // The last argument is the configuration's path. Descriptor 1 is the channel to the server,
    // which says one line when the instance has to end.
    let script = format!(
        "#!/bin/sh\nfor config; do :; done\n\
         for socket in \"${{config%/config.toml}}\"/state/instances/*.sock; do ln -sf {upstream} \"$socket\"; done\n\
         echo '{{\"say\":\"ready\"}}'\nread -r _ <&1\n",
        upstream = upstream.display(),
    );
    let io = || BenchError::io("a stand-in for sudo");
    fs::remove_file(SUDO).map_err(io())?;
    fs::write(SUDO, script).map_err(io())?;
    fs::set_permissions(SUDO, Permissions::from_mode(0o755)).map_err(io())
}
