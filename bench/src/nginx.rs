//! An nginx in one process, with a configuration of the caller's. It is killed on drop.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::client::SETTLE_MAX;
use crate::error::BenchError;
use crate::proxy::Site;

pub(crate) struct Nginx(Child);

impl Nginx {
    /// Starts it as the account that runs the bench, with `http` as the inside of that block of its
    /// configuration, and waits until it is up.
    pub(crate) fn start(program: &Path, site: &Site, http: &str, is_up: impl Fn() -> bool) -> Result<Self, BenchError> {
        let home = site.path("nginx");
        let io = || BenchError::io("nginx");
        fs::create_dir(&home).map_err(io())?;
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log {home}/log; user root;\n\
             events {{ worker_connections 10000; }}\n\
             http {{ access_log off;\n{http} }}\n",
            home = home.display(),
        );
        fs::write(home.join("conf"), text).map_err(io())?;
        let child = Command::new(program)
            .args(["-p".as_ref(), home.as_os_str(), "-c".as_ref(), home.join("conf").as_os_str()])
            .stdin(Stdio::null())
            .spawn()
            .map_err(io())?;
        let nginx = Self(child);
        let begun = Instant::now();
        while !is_up() {
            if begun.elapsed() > SETTLE_MAX {
                return Err(BenchError::Empty("nginx, which did not come up"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap_or(i32::MAX))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
