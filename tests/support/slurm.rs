//! A small Slurm for tests: two nodes and accounting, made by `slurm.sh` in the namespace of
//! `installation.sh`, which ends it.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

/// How long it may take to start.
const START_MAX: Duration = Duration::from_secs(180);
/// Its first port. Each test has a namespace of its own, but not a network.
const PORT: u16 = 27_400;
/// How many ports it uses.
const PORTS: u16 = 5;

/// A running Slurm.
pub(crate) struct Slurm {
    folder: tempfile::TempDir,
}

impl Slurm {
    /// Starts it.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("slurm-").tempdir().unwrap();
        let process = u16::try_from(std::process::id() % 400).unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/support/slurm.sh");
        let mut command = Command::new(script);
        command.arg(folder.path().join("s")).arg((PORT + process * PORTS).to_string());
        // The daemons must not hold a pipe of this process.
        let log = std::fs::File::create(folder.path().join("start.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let status = tokio::time::timeout(START_MAX, command.status()).await.expect("Slurm starts in time").unwrap();
        let said = std::fs::read_to_string(folder.path().join("start.log")).unwrap();
        assert!(status.success(), "slurm.sh: {status}: {said}");
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn config_file(&self) -> PathBuf {
        self.folder.path().join("s/slurm.conf")
    }

    /// The tables of a provider that uses it.
    pub(crate) fn config(&self) -> String {
        format!(
            "[slurm]\nconfig = \"{}\"\ndrive = \"home\"\npoll_s = 1\n\n[[products]]\nname = \"disk\"\n\
             category = \"storage\"\ntype = \"storage\"\n\n[[products]]\nname = \"small\"\ncategory = \"small\"\n\
             type = \"compute\"\ncpu = 1\nmemory_gb = 1\npartition = \"normal\"\n",
            self.config_file().display()
        )
    }

    /// Runs one of Slurm's commands as root.
    pub(crate) async fn run(&self, command: &[&str]) -> Output {
        let (program, arguments) = command.split_first().unwrap();
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("SLURM_CONF", self.config_file())
            .stdin(Stdio::null())
            .output();
        tokio::time::timeout(Duration::from_secs(60), output).await.unwrap().unwrap()
    }
}
