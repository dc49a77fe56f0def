//! The environment modules of the site, as a login shell lists them (`module -t avail`, Lmod or
//! Environment Modules).
//!
//! The shell has a cleared environment and no home directory, so it reads the site's files and none
//! of the user's. Time and size are bounded. Without modules the list is empty.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use countersign_applications::is_module;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// A job's script begins with this shell as a login shell.
const SHELL: &str = "/bin/bash";

/// Lmod prints the terse list on standard error, others on standard output.
const LIST: &str = "type module >/dev/null 2>&1 || exit 0; echo; echo :modules:; module -t avail 2>&1";

/// The line before the list. What the site's profile prints comes earlier.
const BEGIN: &str = "\n:modules:\n";

/// Longest time. A list without a cache on a network's file system takes seconds.
const WITHIN: Duration = Duration::from_secs(20);

/// Longest list, in bytes.
const BYTES_MAX: u64 = 512 * 1024;

/// Most modules.
pub(super) const MODULES_MAX: usize = 2_000;

/// Longest names of all modules together, in bytes: as much as a report to the server takes.
const NAMES_MAX: usize = 200 * 1024;

/// The modules that are there, each once. Empty if the shell fails or is too slow.
pub(super) async fn available(shell: &str) -> Vec<String> {
    let mut command = Command::new(shell);
    command.args(["--login", "-c", LIST]).env_clear().current_dir("/").process_group(0).kill_on_drop(true);
    command.envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/"), ("LC_ALL", "C.UTF-8")]);
    command.envs([("LMOD_PAGER", "none"), ("LMOD_COLORIZE", "no"), ("MODULES_PAGER", ""), ("TERM", "dumb")]);
    command.env("LMOD_TERSE_DECORATIONS", "no");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return Vec::new() };
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut text = Vec::new();
    if let Some(output) = child.stdout.take() {
        let is_read = timeout(WITHIN, output.take(BYTES_MAX).read_to_end(&mut text)).await;
        if !matches!(is_read, Ok(Ok(_))) {
            tracing::warn!("the list of modules was not complete in time, so none is offered");
            text.clear();
        }
    }
    // What the shell has begun ends with it.
    if let Some(group) = group {
        let _ended_already = killpg(group, Signal::SIGKILL);
    }
    let _status = child.wait().await;
    names(&String::from_utf8_lossy(&text))
}

/// The modules in a terse list. Lines with a directory, or with anything else, are left out. After
/// a name, in brackets, stand its marks, such as `(default)`.
fn names(text: &str) -> Vec<String> {
    let Some((_, list)) = text.rsplit_once(BEGIN) else { return Vec::new() };
    // A list that was cut has half a name at its end.
    let Some((whole, _)) = list.rsplit_once('\n') else { return Vec::new() };
    let lines = whole.lines().map(|line| line.split_once('(').map_or(line, |(name, _)| name).trim());
    let named: BTreeSet<&str> = lines.filter(|name| is_module(name) && !name.ends_with('/')).collect();
    let mut length = 0_usize;
    let fits = |name: &&str| {
        // In JSON a name has two quotes and a comma.
        length = length.saturating_add(name.len()).saturating_add(3);
        length <= NAMES_MAX
    };
    named.into_iter().take(MODULES_MAX).take_while(fits).map(str::to_owned).collect()
}

/// The site's modules, for this account.
pub(super) async fn of_site() -> Vec<String> {
    available(SHELL).await
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The names in a list that a shell has begun.
    fn listed_names(list: &str) -> Vec<String> {
        names(&format!("Welcome\n{BEGIN}{list}"))
    }

    #[test]
    fn a_terse_list_has_directories_and_names() {
        let text = "/apps/modules/all:\nGCC/\nGCC/12.3.0\nGCC/13.2.0(default)\nGCC/13.2.1(@default:new)\nR/4.4 (L)\n\
                    R/4.4\n/usr/share/modulefiles:\ndot\n-x\n$(id)\na b\n";
        assert_eq!(listed_names(text), ["GCC/12.3.0", "GCC/13.2.0", "GCC/13.2.1", "R/4.4", "dot"]);
        assert!(listed_names("bash: module: command not found\n").is_empty());
        assert_eq!(listed_names("GCC/12.3.0\nGCC/13"), ["GCC/12.3.0"], "half a name is none");
        assert!(names("Welcome\nGCC/12.3.0\n").is_empty(), "what a profile prints is no list");
        let many: String = (0..=MODULES_MAX).map(|number| format!("m/{number}\n")).collect();
        assert_eq!(listed_names(&many).len(), MODULES_MAX);
        let long: String = (0..MODULES_MAX).map(|number| format!("{number:0>120}\n")).collect();
        assert!(serde_json::to_string(&listed_names(&long)).unwrap().len() <= NAMES_MAX + 2);
    }

    /// The list of a shell that does this instead.
    async fn listed(script: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let shell = directory.path().join("shell");
        fs::write(&shell, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
        available(shell.to_str().unwrap()).await
    }

    #[tokio::test]
    async fn the_shell_is_a_login_shell_with_nothing_of_the_users() {
        let script = "[ $1 = --login ] && [ $HOME = / ] && [ -z \"$CARGO_MANIFEST_DIR\" ] && \
                      printf '\\n:modules:\\nGCC/12.3.0\\n'";
        assert_eq!(listed(script).await, ["GCC/12.3.0"]);
    }

    #[tokio::test]
    async fn a_list_without_end_and_a_shell_that_is_not_there_are_none() {
        assert!(listed("echo; echo :modules:; yes '/not/a/module:'").await.is_empty());
        assert!(available("/nonexistent/bash").await.is_empty());
    }
}
